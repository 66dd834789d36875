-- Customers at Stripe that belong to no customer here, until support links them or creates one.
CREATE TABLE unmatched_stripe_customers (
    stripe_customer_id text PRIMARY KEY CONSTRAINT unmatched_stripe_customers_id_given CHECK (stripe_customer_id <> ''),
    email text,
    name text NOT NULL DEFAULT '',
    reason text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT unmatched_stripe_customers_id_plain CHECK (stripe_customer_id ~ '^[A-Za-z0-9_-]+$'),
    CONSTRAINT unmatched_stripe_customers_texts_bounded CHECK (
        octet_length(stripe_customer_id) <= 255 AND octet_length(email) <= 8192 AND octet_length(name) <= 8192
        AND octet_length(reason) <= 20000
    ),
    CONSTRAINT unmatched_stripe_customers_times_plausible CHECK (
        first_seen_at >= '1970-01-01 00:00:00+00' AND first_seen_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX unmatched_stripe_customers_first_seen_at ON unmatched_stripe_customers (first_seen_at);
