-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/open_invoices
ALTER TABLE open_invoices DROP CONSTRAINT open_invoices_texts_bounded;
ALTER TABLE open_invoices ADD COLUMN decline_code text;
ALTER TABLE open_invoices ADD CONSTRAINT open_invoices_texts_bounded CHECK ( octet_length(number) <= 800 AND octet_length(failure_code) <= 800 AND octet_length(decline_code) <= 800 AND octet_length(hosted_invoice_url) <= 8192 ) NOT VALID;
/* The table is now:
-- What a live subscription's customer owes, and what is about to be asked for: its invoices that are drafts, open or
-- given up (uncollectible). An invoice that is paid or void has no row, nor has one of a subscription that has ended.
-- amount_due_cents is what is still to be paid of it. overdue_since is when its due date passed or, where a payment
-- method is charged by itself, when it was sent and could not be paid. failure_code and decline_code are of the last
-- try.
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
    decline_code text,
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
        octet_length(number) <= 800 AND octet_length(failure_code) <= 800 AND octet_length(decline_code) <= 800
        AND octet_length(hosted_invoice_url) <= 8192
    ),
    CONSTRAINT open_invoices_times_plausible CHECK (
        least(next_attempt_at, due_at, overdue_since, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_attempt_at, due_at, overdue_since, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX open_invoices_user_id ON open_invoices (user_id, created_at);
CREATE INDEX open_invoices_subscription_id ON open_invoices (subscription_id);
*/

--! tables/payment_cases
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

--! tables/payment_history
ALTER TABLE payment_history DROP CONSTRAINT payment_history_texts_bounded;
ALTER TABLE payment_history ADD COLUMN decline_code text;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_texts_bounded CHECK ( octet_length(failure_code) <= 255 AND octet_length(decline_code) <= 255 AND octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192 ) NOT VALID;
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
    decline_code text,
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
        octet_length(failure_code) <= 255 AND octet_length(decline_code) <= 255
        AND octet_length(failure_message) <= 8192
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

--! tables/payment_reminders
-- The e-mails that ask a customer to pay an invoice, each written, with who and why, before it is sent. token is the
-- confirmation's, which sends one message at most. asked: on its way, or it was cut short there and may have arrived;
-- refused: the mail server did not take it.
CREATE TABLE payment_reminders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_invoice_id text NOT NULL,
    user_id uuid NOT NULL CONSTRAINT payment_reminders_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    email text NOT NULL,
    token text NOT NULL CONSTRAINT payment_reminders_token_key UNIQUE,
    state text NOT NULL DEFAULT 'asked',
    answer text NOT NULL DEFAULT '',
    actor text NOT NULL CONSTRAINT payment_reminders_actor_given CHECK (actor <> ''),
    reason text NOT NULL CONSTRAINT payment_reminders_reason_given CHECK (reason <> ''),
    asked_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    CONSTRAINT payment_reminders_state_known CHECK (state IN ('asked', 'sent', 'refused')),
    CONSTRAINT payment_reminders_settled_is_dated CHECK ((state = 'asked') = (settled_at IS NULL)),
    CONSTRAINT payment_reminders_ids_short CHECK (
        octet_length(stripe_invoice_id) BETWEEN 1 AND 255 AND octet_length(token) BETWEEN 1 AND 255
    ),
    CONSTRAINT payment_reminders_texts_bounded CHECK (
        octet_length(email) BETWEEN 1 AND 800 AND octet_length(answer) <= 8192 AND octet_length(actor) <= 800
        AND octet_length(reason) <= 8192
    ),
    CONSTRAINT payment_reminders_times_plausible CHECK (
        least(asked_at, settled_at) >= '1970-01-01 00:00:00+00'
        AND greatest(asked_at, settled_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX payment_reminders_user_id ON payment_reminders (user_id, asked_at DESC);
CREATE INDEX payment_reminders_invoice ON payment_reminders (stripe_invoice_id, asked_at DESC);

--! tables/stripe_requests
ALTER TABLE stripe_requests DROP CONSTRAINT stripe_requests_kind_known;
ALTER TABLE stripe_requests ADD CONSTRAINT stripe_requests_kind_known CHECK (kind IN ( 'refund', 'cancel_now', 'cancel_at_period_end', 'resume', 'pause_collection', 'resume_collection', 'tag_customer', 'change_plan', 'change_plan_at_period_end', 'release_schedule', 'extend_trial', 'apply_coupon', 'remove_coupon', 'credit', 'void_invoice', 'mark_paid', 'mark_uncollectible', 'pay_invoice' )) NOT VALID;
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
        'remove_coupon', 'credit', 'void_invoice', 'mark_paid', 'mark_uncollectible', 'pay_invoice'
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

--! tables/upcoming_invoices
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

--! functions/decline_words
-- Why a charge failed, in words: of a decline code or a failure code of Stripe's; NULL for none. One that is not here
-- is said as it is. https://docs.stripe.com/declines/codes and https://docs.stripe.com/error-codes
CREATE FUNCTION decline_words(code text) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(
        (
            SELECT w.words
            FROM (
                VALUES
                ('account_closed', 'The bank account is closed'),
                ('approve_with_id', 'The bank did not authorize it'),
                ('authentication_required', 'The bank wants the customer to confirm'),
                ('authentication_not_handled', 'The bank wanted the customer to confirm'),
                ('bank_account_restricted', 'The bank account takes no debits'),
                ('bank_ownership_changed', 'The bank account has another owner'),
                ('call_issuer', 'The bank declined: the customer has to call it'),
                ('card_declined', 'The bank declined'),
                ('card_not_supported', 'The card cannot be used for this'),
                ('card_velocity_exceeded', 'The card is at its limit'),
                ('currency_not_supported', 'The card does not take the currency'),
                ('debit_not_authorized', 'The customer did not allow the debit'),
                ('do_not_honor', 'The bank declined: the customer has to call it'),
                ('do_not_try_again', 'The bank declined for good'),
                ('duplicate_transaction', 'The same amount was charged a moment before'),
                ('expired_card', 'The card has expired'),
                ('fraudulent', 'Held to be fraud'),
                ('generic_decline', 'The bank declined and does not say why'),
                ('highest_risk_level', 'Blocked: the risk of fraud is too high'),
                ('incorrect_address', 'The address is wrong'),
                ('incorrect_cvc', 'The security code is wrong'),
                ('incorrect_number', 'The card number is wrong'),
                ('incorrect_pin', 'The PIN is wrong'),
                ('incorrect_zip', 'The postal code is wrong'),
                ('insufficient_funds', 'Not enough money'),
                ('invalid_account', 'The card or its account is not valid'),
                ('invalid_amount', 'The amount is not allowed'),
                ('invalid_cvc', 'The security code is wrong'),
                ('invalid_expiry_month', 'The expiry month is wrong'),
                ('invalid_expiry_year', 'The expiry year is wrong'),
                ('invalid_number', 'The card number is wrong'),
                ('issuer_not_available', 'The bank could not be reached'),
                ('lost_card', 'The card was reported lost'),
                ('merchant_blacklist', 'On the list of blocked payments'),
                ('new_account_information_available', 'The card or its account is not valid'),
                ('no_account', 'The bank account does not exist'),
                ('no_action_taken', 'The bank declined: the customer has to call it'),
                ('not_permitted', 'The payment is not allowed'),
                ('offline_pin_required', 'The card needs its PIN'),
                ('online_or_offline_pin_required', 'The card needs its PIN'),
                ('payment_method_not_available', 'The payment method cannot be used now'),
                ('pickup_card', 'The card was reported lost or stolen'),
                ('pin_try_exceeded', 'The PIN was wrong too often'),
                ('processing_error', 'An error at the bank'),
                ('reenter_transaction', 'An error at the bank'),
                ('restricted_card', 'The card was reported lost or stolen'),
                ('revocation_of_all_authorizations', 'The customer stopped all payments'),
                ('revocation_of_authorization', 'The customer stopped the payments'),
                ('rule', 'Blocked by a rule of ours'),
                ('security_violation', 'The bank declined: the customer has to call it'),
                ('service_not_allowed', 'The bank declined: the customer has to call it'),
                ('stolen_card', 'The card was reported stolen'),
                ('stop_payment_order', 'The customer stopped the payment'),
                ('testmode_decline', 'A test card'),
                ('transaction_not_allowed', 'The bank declined: the customer has to call it'),
                ('try_again_later', 'The bank declined for now'),
                ('withdrawal_count_limit_exceeded', 'The card is at its limit')
            ) AS w (code, words)
            WHERE w.code = decline_words.code
        ),
        code
    )
$$;

--! views/charged_cards
-- The card that each live subscription at Stripe is charged with: the subscription's own, or else the customer's
-- default, as it was last heard of. Where neither is known here, as after a takeover, that of the customer's last
-- charge. Not every payment method is a card. expires_on is the last day on which it can be charged.
-- https://docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method
CREATE VIEW charged_cards AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    m.id AS payment_method_id,
    c.card ->> 'brand' AS brand,
    c.card ->> 'last4' AS last4,
    CASE
        WHEN c.card ->> 'exp_month' ~ '^0?[1-9]$|^1[0-2]$' AND c.card ->> 'exp_year' ~ '^2[01]\d\d$'
            THEN (
                make_date((c.card ->> 'exp_year')::int, (c.card ->> 'exp_month')::int, 1) + interval '1 month - 1 day'
            )::date
    END AS expires_on
FROM subscriptions AS s
LEFT JOIN djstripe_subscription AS o ON s.stripe_subscription_id = o.id
LEFT JOIN djstripe_customer AS u ON s.stripe_customer_id = u.id
LEFT JOIN djstripe_paymentmethod AS m
    ON coalesce(
        o.stripe_data ->> 'default_payment_method', u.stripe_data #>> '{invoice_settings,default_payment_method}'
    ) = m.id
LEFT JOIN LATERAL (
    SELECT h.stripe_data #> '{payment_method_details,card}' AS card
    FROM djstripe_charge AS h
    WHERE m.id IS NULL AND h.customer_id = s.stripe_customer_id
    ORDER BY h.created DESC, h.id DESC
    LIMIT 1
) AS l ON true
INNER JOIN LATERAL (
    SELECT coalesce(m.stripe_data -> 'card', l.card) AS card
) AS c ON jsonb_typeof(c.card) = 'object'
WHERE
    s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
    AND s.stripe_subscription_id IS NOT NULL;

--! triggers/payment_cases
CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_cases
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();
