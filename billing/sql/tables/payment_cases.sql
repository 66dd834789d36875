-- What staff decided about an invoice that is not paid: who looks after it, and until which day, the day included, the
-- customer was given time. An extension changes nothing at Stripe; until it ends the invoice raises no alert. The row
-- outlives the invoice's in open_invoices, which goes and comes again with what Stripe says.
CREATE TABLE payment_cases (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_invoice_id text NOT NULL CONSTRAINT payment_cases_stripe_invoice_id_key UNIQUE,
    user_id uuid NOT NULL CONSTRAINT payment_cases_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    owner text,
    extended_until_on date,
    extension_reason text,
    extended_by text,
    extended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_cases_extension_is_signed CHECK (
        num_nonnulls(extended_until_on, extension_reason, extended_by, extended_at) IN (0, 4)
    ),
    CONSTRAINT payment_cases_ids_short CHECK (octet_length(stripe_invoice_id) BETWEEN 1 AND 255),
    CONSTRAINT payment_cases_texts_bounded CHECK (
        octet_length(owner) BETWEEN 1 AND 800 AND octet_length(extended_by) BETWEEN 1 AND 800
        AND octet_length(extension_reason) BETWEEN 1 AND 8192
    ),
    CONSTRAINT payment_cases_times_plausible CHECK (
        least(extended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(extended_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
        AND extended_until_on BETWEEN '1970-01-01' AND '2199-12-31'
    )
);

CREATE INDEX payment_cases_user_id ON payment_cases (user_id);
