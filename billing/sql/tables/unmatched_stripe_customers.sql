-- Customers at Stripe that belong to no customer here, until support links them or creates one.
CREATE TABLE unmatched_stripe_customers (
    stripe_customer_id text PRIMARY KEY CONSTRAINT unmatched_stripe_customers_id_given CHECK (stripe_customer_id <> ''),
    email text,
    name text NOT NULL DEFAULT '',
    reason text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX unmatched_stripe_customers_first_seen_at ON unmatched_stripe_customers (first_seen_at);
