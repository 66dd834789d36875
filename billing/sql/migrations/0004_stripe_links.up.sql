-- A Stripe customer may have no address, and a deleted one has none: NULL, like the other ids that may be missing.
ALTER TABLE users ALTER COLUMN email DROP NOT NULL;

CREATE TABLE stripe_tombstones (
    stripe_id text PRIMARY KEY CONSTRAINT stripe_tombstones_id_given CHECK (stripe_id <> ''),
    kind text NOT NULL,
    buried_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE unmatched_stripe_customers (
    stripe_customer_id text PRIMARY KEY CONSTRAINT unmatched_stripe_customers_id_given CHECK (stripe_customer_id <> ''),
    email text,
    name text NOT NULL DEFAULT '',
    reason text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX unmatched_stripe_customers_first_seen_at ON unmatched_stripe_customers (first_seen_at);
