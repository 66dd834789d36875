-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('charged_cards') AND a.grantee <> c.relowner;

DROP VIEW charged_cards;

ALTER TABLE open_invoices DROP CONSTRAINT open_invoices_texts_bounded;
ALTER TABLE open_invoices DROP COLUMN decline_code;
ALTER TABLE open_invoices ADD CONSTRAINT open_invoices_texts_bounded CHECK ( octet_length(number) <= 800 AND octet_length(failure_code) <= 800 AND octet_length(hosted_invoice_url) <= 8192 ) NOT VALID;
/* The table is now:
-- What a live subscription's customer owes, and what is about to be asked for: its invoices that are drafts, open or
-- given up (uncollectible). An invoice that is paid or void has no row, nor has one of a subscription that has ended.
-- amount_due_cents is what is still to be paid of it. overdue_since is when its due date passed or, where a payment
-- method is charged by itself, when it was sent and could not be paid. failure_code is of the last try.
CREATE TABLE open_invoices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_invoice_id text NOT NULL CONSTRAINT open_invoices_stripe_invoice_id_key UNIQUE,
    user_id uuid NOT NULL CONSTRAINT open_invoices_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    subscription_id uuid NOT NULL
    CONSTRAINT open_invoices_subscription_id_fkey REFERENCES subscriptions (id) ON DELETE CASCADE,
    number text,
    status text NOT NULL,
    amount_due_cents bigint NOT NULL,
    currency text NOT NULL DEFAULT 'usd',
    attempt_count bigint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    due_at timestamptz,
    overdue_since timestamptz,
    failure_code text,
    hosted_invoice_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT open_invoices_status_known CHECK (status IN ('draft', 'open', 'uncollectible')),
    CONSTRAINT open_invoices_amount_positive CHECK (amount_due_cents > 0),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT open_invoices_amount_possible CHECK (amount_due_cents <= 999999999999999),
    CONSTRAINT open_invoices_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT open_invoices_attempts_not_negative CHECK (attempt_count >= 0),
    CONSTRAINT open_invoices_ids_given CHECK (stripe_invoice_id <> ''),
    CONSTRAINT open_invoices_ids_short CHECK (octet_length(stripe_invoice_id) <= 255),
    CONSTRAINT open_invoices_texts_bounded CHECK (
        octet_length(number) <= 800 AND octet_length(failure_code) <= 800 AND octet_length(hosted_invoice_url) <= 8192
    ),
    CONSTRAINT open_invoices_times_plausible CHECK (
        least(next_attempt_at, due_at, overdue_since, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_attempt_at, due_at, overdue_since, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX open_invoices_user_id ON open_invoices (user_id, created_at);
CREATE INDEX open_invoices_subscription_id ON open_invoices (subscription_id);
*/

ALTER TABLE payment_history DROP CONSTRAINT payment_history_texts_bounded;
ALTER TABLE payment_history DROP COLUMN decline_code;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_texts_bounded CHECK ( octet_length(failure_code) <= 255 AND octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192 ) NOT VALID;
/* The table is now:
-- One row a charge, failed ones included, and one an invoice that was paid outside of Stripe. refunded_cents,
-- disputed_cents and paid_at are sums of payment_movements, and triggers keep them so. Financial records: a user with
-- payments cannot be deleted.
CREATE TABLE payment_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT payment_history_user_id_fkey REFERENCES users (id) ON DELETE RESTRICT,
    stripe_customer_id text,
    stripe_invoice_id text,
    stripe_payment_intent_id text,
    stripe_charge_id text CONSTRAINT payment_history_stripe_charge_id_key UNIQUE,
    amount_cents bigint NOT NULL,
    currency text NOT NULL DEFAULT 'usd',
    status text NOT NULL DEFAULT 'pending',
    refunded_cents bigint NOT NULL DEFAULT 0,
    disputed_cents bigint NOT NULL DEFAULT 0,
    paid_out_of_band boolean NOT NULL DEFAULT false,
    attempt_count bigint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    failure_code text,
    failure_message text,
    invoice_url text,
    receipt_url text,
    paid_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_history_status_known CHECK (status IN (
        'pending', 'succeeded', 'failed', 'refunded', 'partially_refunded', 'disputed'
    )),
    CONSTRAINT payment_history_amount_not_negative CHECK (amount_cents >= 0),
    CONSTRAINT payment_history_refund_within_amount CHECK (refunded_cents BETWEEN 0 AND amount_cents),
    CONSTRAINT payment_history_disputed_not_negative CHECK (disputed_cents >= 0),
    CONSTRAINT payment_history_attempts_not_negative CHECK (attempt_count >= 0),
    -- Of what was paid outside of Stripe only the invoice is known.
    CONSTRAINT payment_history_out_of_band_without_charge CHECK (
        NOT paid_out_of_band OR (stripe_charge_id IS NULL AND stripe_invoice_id IS NOT NULL)
    ),
    CONSTRAINT payment_history_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    -- An empty string is not "no id": Stripe cannot be asked for it.
    CONSTRAINT payment_history_ids_given CHECK (
        stripe_invoice_id <> '' AND stripe_payment_intent_id <> '' AND stripe_charge_id <> ''
    ),
    CONSTRAINT payment_history_ids_short CHECK (
        octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255
        AND octet_length(stripe_charge_id) <= 255 AND octet_length(stripe_customer_id) <= 255
    ),
    CONSTRAINT payment_history_texts_bounded CHECK (
        octet_length(failure_code) <= 255 AND octet_length(failure_message) <= 8192
        AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT payment_history_amount_possible CHECK (amount_cents <= 999999999999),
    CONSTRAINT payment_history_times_plausible CHECK (
        least(paid_at, next_attempt_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(paid_at, next_attempt_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX payment_history_user_id ON payment_history (user_id, created_at DESC);
CREATE INDEX payment_history_stripe_customer_id ON payment_history (
    stripe_customer_id
) WHERE stripe_customer_id IS NOT NULL;
-- Whole or by their beginning: column LIKE 'in_abc%'.
CREATE INDEX payment_history_stripe_invoice_id ON payment_history (stripe_invoice_id text_pattern_ops)
WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id text_pattern_ops)
WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX payment_history_stripe_charge_prefix ON payment_history (stripe_charge_id text_pattern_ops)
WHERE stripe_charge_id IS NOT NULL;
CREATE INDEX payment_history_paid_at ON payment_history (paid_at)
INCLUDE (amount_cents, refunded_cents, currency, status) WHERE paid_at IS NOT NULL;
CREATE UNIQUE INDEX payment_history_out_of_band ON payment_history (stripe_invoice_id) WHERE paid_out_of_band;
CREATE INDEX payment_history_failures ON payment_history (created_at) WHERE status IN ('failed', 'disputed');

-- The back office's sorts and filters.
CREATE INDEX payment_history_created_at ON payment_history (created_at);
CREATE INDEX payment_history_status ON payment_history (status, created_at DESC);
*/

ALTER TABLE stripe_requests DROP CONSTRAINT stripe_requests_kind_known;
ALTER TABLE stripe_requests ADD CONSTRAINT stripe_requests_kind_known CHECK (kind IN ( 'refund', 'cancel_now', 'cancel_at_period_end', 'resume', 'pause_collection', 'resume_collection', 'tag_customer', 'change_plan', 'change_plan_at_period_end', 'release_schedule', 'extend_trial', 'apply_coupon', 'remove_coupon', 'credit', 'void_invoice', 'mark_paid', 'mark_uncollectible' )) NOT VALID;
/* The table is now:
-- What we ask Stripe to change: written, with who and why, before Stripe is asked, so that an answer that is lost
-- leaves a row to be settled. parameters are never a secret; audit_id is the audit row of what was, or may have been,
-- done. asked: on its way; unknown: it may have been done; refused: it was not done.
CREATE TABLE stripe_requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    stripe_object_id text NOT NULL,
    user_id uuid CONSTRAINT stripe_requests_user_id_fkey REFERENCES users (id) ON DELETE SET NULL,
    row_id uuid NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    idempotency_key text NOT NULL CONSTRAINT stripe_requests_idempotency_key_key UNIQUE,
    state text NOT NULL DEFAULT 'asked',
    answer_id text,
    answer text NOT NULL DEFAULT '',
    actor text NOT NULL CONSTRAINT stripe_requests_actor_given CHECK (actor <> ''),
    reason text NOT NULL CONSTRAINT stripe_requests_reason_given CHECK (reason <> ''),
    audit_id bigint,
    asked_at timestamptz NOT NULL DEFAULT now(),
    looked_at timestamptz,
    settled_at timestamptz,
    CONSTRAINT stripe_requests_kind_known CHECK (kind IN (
        'refund', 'cancel_now', 'cancel_at_period_end', 'resume', 'pause_collection', 'resume_collection',
        'tag_customer', 'change_plan', 'change_plan_at_period_end', 'release_schedule', 'extend_trial', 'apply_coupon',
        'remove_coupon', 'credit', 'void_invoice', 'mark_paid', 'mark_uncollectible'
    )),
    CONSTRAINT stripe_requests_state_known CHECK (state IN ('asked', 'done', 'refused', 'unknown')),
    CONSTRAINT stripe_requests_settled_is_dated CHECK ((state IN ('done', 'refused')) = (settled_at IS NOT NULL)),
    CONSTRAINT stripe_requests_effect_is_audited CHECK (state NOT IN ('done', 'unknown') OR audit_id IS NOT NULL),
    CONSTRAINT stripe_requests_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT stripe_requests_ids_short CHECK (
        octet_length(stripe_object_id) BETWEEN 1 AND 255 AND octet_length(answer_id) BETWEEN 1 AND 255
        AND octet_length(idempotency_key) BETWEEN 1 AND 255
    ),
    CONSTRAINT stripe_requests_texts_bounded CHECK (
        octet_length(answer) <= 8192 AND octet_length(actor) <= 800 AND octet_length(reason) <= 8192
        AND pg_column_size(parameters) <= 8192
    ),
    CONSTRAINT stripe_requests_times_plausible CHECK (
        least(asked_at, looked_at, settled_at) >= '1970-01-01 00:00:00+00'
        AND greatest(asked_at, looked_at, settled_at) < '2200-01-01 00:00:00+00'
    )
);

-- Stripe's state tells whether a request was carried out only while nothing else is asked of the same object.
CREATE UNIQUE INDEX stripe_requests_one_open ON stripe_requests (stripe_object_id)
WHERE state IN ('asked', 'unknown');
CREATE INDEX stripe_requests_asked_at ON stripe_requests (asked_at);
CREATE INDEX stripe_requests_state ON stripe_requests (state, asked_at DESC);
CREATE INDEX stripe_requests_object ON stripe_requests (stripe_object_id, asked_at DESC);
CREATE INDEX stripe_requests_user_id ON stripe_requests (user_id, asked_at DESC);
*/

DROP TRIGGER set_updated_at ON payment_cases;

-- Gone.

DROP FUNCTION decline_words;

DROP TABLE upcoming_invoices;

DROP TABLE payment_reminders;

DROP TABLE payment_cases;

--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
