-- What a Stripe price, or each price of a product (prod_…), sells: support edits this, and it wins over what they say
-- themselves. `none` is nothing of ours: what another business sells on the same Stripe account.
CREATE TABLE plan_prices (
    stripe_price_id text PRIMARY KEY CONSTRAINT plan_prices_id_given CHECK (stripe_price_id <> ''),
    tier text NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plan_prices_tier_known CHECK (tier IN ('free', 'starter', 'professional', 'enterprise', 'none')),
    -- It stands in the address of its page.
    CONSTRAINT plan_prices_id_plain CHECK (stripe_price_id ~ '^[A-Za-z0-9_-]+$'),
    CONSTRAINT plan_prices_texts_bounded CHECK (
        octet_length(stripe_price_id) <= 255 AND octet_length(tier) <= 63 AND octet_length(note) <= 800
    ),
    CONSTRAINT plan_prices_times_plausible CHECK (
        least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX plan_prices_tier ON plan_prices (tier);
