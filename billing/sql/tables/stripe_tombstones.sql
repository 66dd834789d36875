-- Objects that were deleted at Stripe. Nothing removes a row: a late event must not bring the object back.
CREATE TABLE stripe_tombstones (
    stripe_id text PRIMARY KEY CONSTRAINT stripe_tombstones_id_given CHECK (stripe_id <> ''),
    kind text NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now()
);
