-- What Stripe last said that a live subscription is charged next, or why it could not say: the customer's page shows it
-- with its time. content is as billing.services.upcoming writes it.
CREATE TABLE upcoming_invoices (
    subscription_id uuid CONSTRAINT upcoming_invoices_pkey PRIMARY KEY
    CONSTRAINT upcoming_invoices_subscription_id_fkey REFERENCES subscriptions (id) ON DELETE CASCADE,
    content jsonb,
    told_at timestamptz,
    problem text NOT NULL DEFAULT '',
    asked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT upcoming_invoices_content_is_dated CHECK ((content IS NULL) = (told_at IS NULL)),
    CONSTRAINT upcoming_invoices_content_object CHECK (jsonb_typeof(content) = 'object'),
    CONSTRAINT upcoming_invoices_texts_bounded CHECK (
        octet_length(problem) <= 8192 AND pg_column_size(content) <= 65536
    ),
    CONSTRAINT upcoming_invoices_times_plausible CHECK (
        least(told_at, asked_at) >= '1970-01-01 00:00:00+00'
        AND greatest(told_at, asked_at) < '2200-01-01 00:00:00+00'
    )
);
