-- Which Stripe prices sell a tier. Support edits this; it wins over a price's metadata and lookup key.
CREATE TABLE plan_prices (
    stripe_price_id text PRIMARY KEY CONSTRAINT plan_prices_id_given CHECK (stripe_price_id <> ''),
    tier text NOT NULL CONSTRAINT plan_prices_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX plan_prices_tier ON plan_prices (tier);
