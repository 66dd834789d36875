-- Objects that were deleted at Stripe. Nothing removes a row: a late event must not bring the object back.
CREATE TABLE stripe_tombstones (
    stripe_id text PRIMARY KEY CONSTRAINT stripe_tombstones_id_given CHECK (stripe_id <> ''),
    kind text NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stripe_tombstones_texts_bounded CHECK (octet_length(stripe_id) <= 255 AND octet_length(kind) <= 255),
    CONSTRAINT stripe_tombstones_times_plausible CHECK (
        deleted_at >= '1970-01-01 00:00:00+00' AND deleted_at < '2200-01-01 00:00:00+00'
    )
);
