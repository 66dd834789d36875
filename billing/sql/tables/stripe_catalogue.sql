-- What Stripe's prices and products say themselves about the tier that they sell, as they were mirrored last. A NULL
-- named_tier says nothing; `none` is nothing of ours.
CREATE TABLE stripe_catalogue (
    stripe_id text CONSTRAINT stripe_catalogue_pkey PRIMARY KEY
    CONSTRAINT stripe_catalogue_id_given CHECK (stripe_id <> ''),
    stripe_product_id text,
    named_tier text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stripe_catalogue_tier_known CHECK (
        named_tier IN ('free', 'starter', 'professional', 'enterprise', 'none')
    ),
    CONSTRAINT stripe_catalogue_ids_short CHECK (
        octet_length(stripe_id) <= 255 AND octet_length(stripe_product_id) <= 255
    ),
    CONSTRAINT stripe_catalogue_texts_bounded CHECK (octet_length(named_tier) <= 63),
    CONSTRAINT stripe_catalogue_times_plausible CHECK (
        updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX stripe_catalogue_product ON stripe_catalogue (stripe_product_id) WHERE stripe_product_id IS NOT NULL;
