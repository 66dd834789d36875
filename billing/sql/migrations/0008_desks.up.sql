-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON api_keys;
DROP TRIGGER set_updated_at ON api_keys;
DROP TRIGGER keep_revoked ON api_keys;
DROP TRIGGER guard_counters ON api_keys;

DROP TRIGGER book_changed_totals ON payment_history;
DROP TRIGGER book_loaded_totals ON payment_history;
DROP TRIGGER set_updated_at ON payment_history;
DROP TRIGGER name_customer ON payment_history;

DROP TRIGGER set_updated_at ON stripe_webhook_events;

DROP TRIGGER audit ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER set_updated_at ON users;
DROP TRIGGER relink_primary_customer ON users;
DROP TRIGGER link_primary_customer ON users;
DROP TRIGGER keep_suspension ON users;

DROP TRIGGER set_updated_at ON open_invoices;

DROP TRIGGER sum_up ON payment_movements;
DROP TRIGGER refuse_truncate ON payment_movements;
DROP TRIGGER refuse_change ON payment_movements;

--! tables/api_usage_deltas
ALTER TABLE api_usage_deltas ADD COLUMN throttled_requests int NOT NULL DEFAULT 0;
ALTER TABLE api_usage_deltas ADD COLUMN server_errors int NOT NULL DEFAULT 0;
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_failures_add_up CHECK ( throttled_requests >= 0 AND server_errors >= 0 AND throttled_requests::bigint + server_errors <= failed_requests ) NOT VALID;
/* The table is now:
-- What the counting trigger queued and roll_up_usage() has not folded yet. Logged on purpose: an unlogged queue comes
-- back empty after a crash. Rows live for seconds, so vacuum goes by count and not by share. Every request writes one:
-- what can be derived is left out, and the order of the columns leaves no gaps between them.
CREATE TABLE api_usage_deltas (
    user_id uuid NOT NULL,
    api_key_id uuid,
    last_request_at timestamptz NOT NULL,
    total_response_time_ms bigint NOT NULL,
    month date NOT NULL,
    total_requests int NOT NULL,
    failed_requests int NOT NULL,
    max_response_time_ms int NOT NULL,
    throttled_requests int NOT NULL DEFAULT 0,
    server_errors int NOT NULL DEFAULT 0,
    CONSTRAINT api_usage_deltas_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT api_usage_deltas_counted CHECK (total_requests > 0 AND failed_requests BETWEEN 0 AND total_requests),
    CONSTRAINT api_usage_deltas_failures_add_up CHECK (
        throttled_requests >= 0 AND server_errors >= 0
        AND throttled_requests::bigint + server_errors <= failed_requests
    ),
    CONSTRAINT api_usage_deltas_times_add_up CHECK (
        max_response_time_ms >= 0 AND total_response_time_ms BETWEEN 0 AND total_requests::bigint * max_response_time_ms
    ),
    CONSTRAINT api_usage_deltas_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01'),
    CONSTRAINT api_usage_deltas_times_plausible CHECK (
        last_request_at >= '1970-01-01 00:00:00+00' AND last_request_at < '2200-01-01 00:00:00+00'
    )
)
WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 20000
);
*/

--! tables/monthly_usage_totals
ALTER TABLE monthly_usage_totals ADD COLUMN throttled_requests bigint NOT NULL DEFAULT 0;
ALTER TABLE monthly_usage_totals ADD COLUMN server_errors bigint NOT NULL DEFAULT 0;
ALTER TABLE monthly_usage_totals ADD CONSTRAINT monthly_usage_totals_failures_add_up CHECK ( throttled_requests >= 0 AND server_errors >= 0 AND throttled_requests + server_errors <= failed_requests ) NOT VALID;
/* The table is now:
-- Usage per user and calendar month (UTC), folded. Outlives the partitions it was counted from.
CREATE TABLE monthly_usage_totals (
    user_id uuid NOT NULL,
    month date NOT NULL,
    total_requests bigint NOT NULL,
    successful_requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    max_response_time_ms int NOT NULL,
    last_request_at timestamptz NOT NULL,
    -- Of those that failed: answered with 429, and with 5xx.
    throttled_requests bigint NOT NULL DEFAULT 0,
    server_errors bigint NOT NULL DEFAULT 0,
    CONSTRAINT monthly_usage_totals_pkey PRIMARY KEY (user_id, month),
    CONSTRAINT monthly_usage_totals_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT monthly_usage_totals_adds_up CHECK (total_requests = successful_requests + failed_requests),
    CONSTRAINT monthly_usage_totals_failures_add_up CHECK (
        throttled_requests >= 0 AND server_errors >= 0 AND throttled_requests + server_errors <= failed_requests
    )
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX monthly_usage_totals_month ON monthly_usage_totals (month, total_requests DESC);
*/

--! tables/quota_rule
-- Which requests count against a month's limit, in its one row, as the setting QUOTA_COUNTS said at the last migrate:
-- all of them, or those that were served, which are not answered with 429 or 5xx.
CREATE TABLE quota_rule (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT quota_rule_one_row CHECK (only_row),
    counts text NOT NULL CONSTRAINT quota_rule_counts_known CHECK (counts IN ('all', 'served'))
);

INSERT INTO quota_rule (counts) VALUES ('all');

--! tables/rate_limits
ALTER TABLE rate_limits ADD COLUMN refused_count bigint DEFAULT 0;
/* The table is now:
-- Requests counted per window: a minute of a key, and a month of a user, whose keys share it; its row names the key
-- that began it. Unlogged: losing it in a crash forgives at most a window. No foreign key, as its check would write
-- WAL for every new window; rows of a deleted key expire by themselves.
CREATE UNLOGGED TABLE rate_limits (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    api_key_id uuid NOT NULL,
    window_start timestamptz NOT NULL,
    window_seconds int NOT NULL,
    request_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    -- Of a month only.
    user_id uuid,
    -- Of a month: requests that were refused, which are recorded with 429 and were not counted. NULL once permits were
    -- leased, as who has them refuses by itself.
    refused_count bigint DEFAULT 0,
    CONSTRAINT rate_limits_window_key UNIQUE (api_key_id, window_seconds, window_start),
    CONSTRAINT rate_limits_window_positive CHECK (window_seconds > 0),
    CONSTRAINT rate_limits_count_not_negative CHECK (request_count >= 0),
    CONSTRAINT rate_limits_expires_after_start CHECK (expires_at > window_start),
    CONSTRAINT rate_limits_times_plausible CHECK (
        least(window_start, expires_at) >= '1970-01-01 00:00:00+00'
        AND greatest(window_start, expires_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX rate_limits_expires_at ON rate_limits (expires_at);
CREATE UNIQUE INDEX rate_limits_month_of_user ON rate_limits (user_id, window_start) WHERE user_id IS NOT NULL;
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

--! tables/users
ALTER TABLE users DROP CONSTRAINT users_times_plausible;
ALTER TABLE users ADD COLUMN legal_hold text;
ALTER TABLE users ADD COLUMN erased_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_legal_hold_given CHECK (octet_length(legal_hold) BETWEEN 1 AND 8192) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_held_is_not_erased CHECK (legal_hold IS NULL OR erased_at IS NULL) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_erased_is_nobody CHECK (erased_at IS NULL OR (email IS NULL AND name = '' AND status <> 'active')) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(suspended_at, erased_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(suspended_at, erased_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
CREATE INDEX users_erased ON users (id) WHERE erased_at IS NOT NULL;
/* The table is now:
-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it. stripe_customer_id is the primary one of stripe_customers, and
-- suspended_at outlasts a deletion. legal_hold says why a customer must not be erased; erased_at when that was done:
-- what the row said of a person is gone then, and its figures stay.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    suspended_at timestamptz,
    legal_hold text,
    erased_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_status_known CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT users_email_plausible CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    -- An empty string is not "no id": two of them would collide on the unique key.
    CONSTRAINT users_ids_given CHECK (cognito_user_id <> '' AND stripe_customer_id <> ''),
    CONSTRAINT users_ids_short CHECK (
        octet_length(cognito_user_id) <= 255 AND octet_length(stripe_customer_id) <= 255
    ),
    CONSTRAINT users_email_short CHECK (octet_length(email) <= 512),
    CONSTRAINT users_name_length CHECK (octet_length(name) <= 8192),
    CONSTRAINT users_legal_hold_given CHECK (octet_length(legal_hold) BETWEEN 1 AND 8192),
    CONSTRAINT users_held_is_not_erased CHECK (legal_hold IS NULL OR erased_at IS NULL),
    CONSTRAINT users_erased_is_nobody CHECK (erased_at IS NULL OR (email IS NULL AND name = '' AND status <> 'active')),
    CONSTRAINT users_times_plausible CHECK (
        least(suspended_at, erased_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(suspended_at, erased_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%'). A name may be longer than an index row can be.
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);

-- The back office's sorts and filters.
CREATE INDEX users_status ON users (status, created_at DESC);

-- Whose data must not come back, asked of every event of Stripe's.
CREATE INDEX users_erased ON users (id) WHERE erased_at IS NOT NULL;
*/

--! tables/api_keys
ALTER TABLE api_keys DROP CONSTRAINT api_keys_times_plausible;
ALTER TABLE api_keys ADD COLUMN replaced_at timestamptz;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_replaced_ends CHECK (replaced_at IS NULL OR expires_at IS NOT NULL) NOT VALID;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_times_plausible CHECK ( least(last_used_at, expires_at, revoked_at, created_at, updated_at, replaced_at) >= '1970-01-01 00:00:00+00' AND greatest( last_used_at, expires_at, revoked_at, created_at, updated_at, replaced_at ) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- A key's hash, never the key: the prefix finds the row, bcrypt checks the rest. key_fast_hash spares bcrypt: the HMAC
-- of key and key_hash under a secret that the database does not hold; NULL until the key was checked under it.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL DEFAULT '',
    environment text NOT NULL DEFAULT 'development',
    key_prefix text NOT NULL,
    key_hash text NOT NULL,
    key_fast_hash text,
    usage_count bigint NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    replaced_at timestamptz,
    CONSTRAINT api_keys_environment_known CHECK (environment IN ('development', 'staging', 'production')),
    CONSTRAINT api_keys_prefix_short CHECK (length(key_prefix) BETWEEN 1 AND 32),
    CONSTRAINT api_keys_hash_is_no_key CHECK (key_hash <> '' AND key_hash NOT LIKE 'glyph\_sk\_%'),
    CONSTRAINT api_keys_fast_hash_sha256 CHECK (key_fast_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT api_keys_usage_not_negative CHECK (usage_count >= 0),
    -- Far from what a bigint holds: counting stops there, and never fails.
    CONSTRAINT api_keys_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT api_keys_reason_needs_revocation CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL),
    CONSTRAINT api_keys_replaced_ends CHECK (replaced_at IS NULL OR expires_at IS NOT NULL),
    CONSTRAINT api_keys_texts_bounded CHECK (
        octet_length(name) <= 800 AND octet_length(key_hash) <= 255 AND octet_length(revoked_reason) <= 8192
    ),
    CONSTRAINT api_keys_times_plausible CHECK (
        least(last_used_at, expires_at, revoked_at, created_at, updated_at, replaced_at) >= '1970-01-01 00:00:00+00'
        AND greatest(
            last_used_at, expires_at, revoked_at, created_at, updated_at, replaced_at
        ) < '2200-01-01 00:00:00+00'
    )
)
-- Half-empty pages keep the counters' updates on the same page, without index writes.
WITH (fillfactor = 70);

CREATE INDEX api_keys_prefix ON api_keys (key_prefix text_pattern_ops);
CREATE INDEX api_keys_user_id ON api_keys (user_id, created_at);
CREATE INDEX api_keys_usable ON api_keys (user_id) INCLUDE (expires_at) WHERE revoked_at IS NULL;

-- The back office's sorts and filters.
CREATE INDEX api_keys_created_at ON api_keys (created_at);
CREATE INDEX api_keys_environment ON api_keys (environment, created_at DESC);
CREATE INDEX api_keys_revoked ON api_keys (created_at DESC) WHERE revoked_at IS NOT NULL;
*/

--! tables/entitlement_grants
-- What a customer may use beyond their plan from starts_at until before ends_at: so many requests more in each calendar
-- month (UTC) that it touches, while it is in force, and so many more a minute and key. Without an api_key_id it holds
-- for all of the customer's keys, else for that one alone. It ends by itself; to end it early is to bring ends_at
-- forward. Of an unlimited plan it changes the minute only.
CREATE TABLE entitlement_grants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT entitlement_grants_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    api_key_id uuid CONSTRAINT entitlement_grants_api_key_id_fkey REFERENCES api_keys (id) ON DELETE CASCADE,
    extra_requests bigint NOT NULL DEFAULT 0,
    extra_per_minute int NOT NULL DEFAULT 0,
    starts_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz NOT NULL,
    reason text NOT NULL CONSTRAINT entitlement_grants_reason_given CHECK (reason <> ''),
    granted_by text NOT NULL DEFAULT coalesce(nullif(current_setting('app.actor', true), ''), session_user)
    CONSTRAINT entitlement_grants_granted_by_given CHECK (granted_by <> ''),
    -- Granted once under it: the form that was sent, or the change of plan that keeps the rest of an old limit.
    idempotency_key text CONSTRAINT entitlement_grants_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT entitlement_grants_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT entitlement_grants_not_negative CHECK (extra_requests >= 0 AND extra_per_minute >= 0),
    CONSTRAINT entitlement_grants_something_granted CHECK (extra_requests > 0 OR extra_per_minute > 0),
    CONSTRAINT entitlement_grants_possible CHECK (
        extra_requests <= 1000000000000000 AND extra_per_minute <= 1000000000
    ),
    CONSTRAINT entitlement_grants_ids_short CHECK (octet_length(idempotency_key) <= 255),
    CONSTRAINT entitlement_grants_texts_bounded CHECK (
        octet_length(reason) <= 8192 AND octet_length(granted_by) <= 800
    ),
    CONSTRAINT entitlement_grants_times_plausible CHECK (
        least(starts_at, ends_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(starts_at, ends_at, created_at) < '2200-01-01 00:00:00+00'
    )
);

-- What is in force, for every check of a limit: what has ended is not looked at.
CREATE INDEX entitlement_grants_in_force ON entitlement_grants (user_id, ends_at)
INCLUDE (starts_at, api_key_id, extra_requests, extra_per_minute);
CREATE INDEX entitlement_grants_api_key_id ON entitlement_grants (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX entitlement_grants_created_at ON entitlement_grants (created_at);

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
CREATE INDEX payment_history_first_paid ON payment_history (user_id, paid_at, currency) WHERE paid_at IS NOT NULL;
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
-- The first payment of each customer.
CREATE INDEX payment_history_first_paid ON payment_history (user_id, paid_at, currency) WHERE paid_at IS NOT NULL;
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

--! tables/usage_corrections
-- Requests of a customer's month (UTC) that are to count more or fewer than were recorded, signed: what was counted is
-- never changed. They enter where use is held against a limit or told to a customer, see quota_usage, and no statistics
-- of requests. Append-only: what is wrong is corrected by another one, counted by "number"; they go only with their
-- customer. The key says which one it was about, and changes nothing.
CREATE TABLE usage_corrections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT usage_corrections_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    month date NOT NULL,
    number int NOT NULL DEFAULT 0,
    api_key_id uuid,
    requests bigint NOT NULL,
    reason text NOT NULL CONSTRAINT usage_corrections_reason_given CHECK (reason <> ''),
    made_by text NOT NULL DEFAULT coalesce(nullif(current_setting('app.actor', true), ''), session_user)
    CONSTRAINT usage_corrections_made_by_given CHECK (made_by <> ''),
    -- Made once under it: the form that was sent.
    idempotency_key text CONSTRAINT usage_corrections_idempotency_key_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Two at once with the same number of an old snapshot: neither knows of the other, so one fails.
    CONSTRAINT usage_corrections_number_key UNIQUE (user_id, month, number),
    CONSTRAINT usage_corrections_number_positive CHECK (number > 0),
    CONSTRAINT usage_corrections_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT usage_corrections_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01'),
    CONSTRAINT usage_corrections_requests_possible CHECK (
        requests <> 0 AND requests BETWEEN -1000000000000000 AND 1000000000000000
    ),
    CONSTRAINT usage_corrections_ids_short CHECK (octet_length(idempotency_key) <= 255),
    CONSTRAINT usage_corrections_texts_bounded CHECK (octet_length(reason) <= 8192 AND octet_length(made_by) <= 800),
    CONSTRAINT usage_corrections_times_plausible CHECK (
        created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX usage_corrections_month ON usage_corrections (month);
CREATE INDEX usage_corrections_created_at ON usage_corrections (created_at);

--! functions/cleanup_old_api_usage
-- Drops the partitions of api_usage whose every row is more than `days` days old, up to 24 at a call, and deletes rows
-- as old from the default partition; returns how many partitions. Totals, counters and known request ids outlive them.
CREATE OR REPLACE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET quote_all_identifiers = off
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_old_api_usage', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    -- As many as if they had partitions: whole months.
    PERFORM delete_rows(d.strays, format('created_at < %L', date_trunc('month', cutoff, 'UTC')))
    FROM default_partition('api_usage'::regclass) AS d (strays)
    WHERE d.strays IS NOT NULL;
    RETURN cardinality(drop_partitions_before('api_usage'::regclass, cutoff));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;

--! functions/correct_usage
-- Corrects what a customer has used of a month, named by its first day (UTC), by so many requests more or, negative,
-- fewer; returns what counts then. Never below nothing. The reason goes into the audit log; the key says which one it
-- was about, and may be NULL. Under an idempotency key that was used before nothing is corrected again, and NULL
-- returned.
CREATE FUNCTION correct_usage(
    user_id uuid,
    month date,
    requests bigint,
    reason text,
    api_key_id uuid DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF correct_usage.user_id IS NULL OR correct_usage.month IS NULL OR coalesce(correct_usage.requests, 0) = 0
        OR coalesce(btrim(correct_usage.reason), '') = ''
    THEN
        RAISE EXCEPTION 'correct_usage: a customer, a month, requests other than 0 and a reason are needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF extract(DAY FROM correct_usage.month) <> 1::numeric THEN
        RAISE EXCEPTION 'correct_usage: % is not the first day of a month', correct_usage.month
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM users AS u WHERE u.id = correct_usage.user_id) THEN
        RAISE EXCEPTION 'correct_usage: there is no customer %', correct_usage.user_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO usage_corrections (user_id, month, requests, reason, api_key_id, idempotency_key)
    VALUES (
        correct_usage.user_id,
        correct_usage.month,
        correct_usage.requests,
        correct_usage.reason,
        correct_usage.api_key_id,
        correct_usage.idempotency_key
    )
    ON CONFLICT ON CONSTRAINT usage_corrections_idempotency_key_key DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT q.used_requests
        FROM quota_usage AS q
        WHERE q.user_id = correct_usage.user_id AND q.month = correct_usage.month
    );
END
$$;

--! functions/count_api_usage
-- Queues what a statement added to api_usage, and never waits for another writer: no shared row is touched until
-- roll_up_usage() folds the queue. monthly_usage_summary adds the queue to the totals, so it is exact at once.
--
-- This runs for every insert, so two things are left out. Up to a hundred rows are queued one by one, as grouping them
-- would cost more than it saves; only a larger statement is grouped. And where every name is qualified, operators and
-- types too, it needs no SET search_path, which alone costs a tenth of an insert's throughput. It has the owner's
-- rights, so that nobody needs any on the queue, where what was counted could be taken back.
CREATE OR REPLACE FUNCTION count_api_usage() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM new_requests OFFSET 100) THEN
        INSERT INTO public.api_usage_deltas (
            user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
            max_response_time_ms, throttled_requests, server_errors
        )
        SELECT
            n.user_id,
            n.api_key_id,
            n.created_at,
            n.response_time_ms,
            pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date,
            1,
            (n.status_code OPERATOR(pg_catalog.>=) 400)::int,
            n.response_time_ms,
            (n.status_code OPERATOR(pg_catalog.=) 429)::int,
            (n.status_code OPERATOR(pg_catalog.>=) 500)::int
        FROM new_requests AS n;
        RETURN NULL;
    END IF;

    INSERT INTO public.api_usage_deltas (
        user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
        max_response_time_ms, throttled_requests, server_errors
    )
    SELECT
        n.user_id,
        n.api_key_id,
        pg_catalog.max(n.created_at),
        pg_catalog.sum(n.response_time_ms),
        pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date AS month,
        pg_catalog.count(*),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.>=) 400),
        pg_catalog.max(n.response_time_ms),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.=) 429),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.>=) 500)
    FROM new_requests AS n
    GROUP BY n.user_id, n.api_key_id, pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date;
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION count_api_usage() FROM public;

--! functions/count_usage_correction
-- Has usage_count follow a correction at once. A subscription that somebody else is changing is left to
-- sync_subscription_usage().
CREATE FUNCTION count_usage_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM set_config('app.counting', 'on', true);
    UPDATE subscriptions AS s
    SET usage_count = own.requests, usage_synced_at = now()
    FROM (
        SELECT l.id, m.requests
        FROM subscriptions AS l
        INNER JOIN miscounted_subscriptions AS m ON m.id = l.id
        WHERE l.user_id = NEW.user_id
        FOR NO KEY UPDATE OF l SKIP LOCKED
    ) AS own
    WHERE s.id = own.id;
    PERFORM set_config('app.counting', '', true);
    RETURN NULL;
END
$$;

--! functions/customer_as_of
-- A customer as this database had them at a moment: rows as they are now with what the audit log says that was changed
-- since undone, deleted rows and those of another customer now included. Of a transaction all counts, from the moment
-- at which it began. Returns an object:
--   user, api_keys (by age)  their columns, without hashes and suspended_at; counters are null where they moved since
--   subscription             of the live ones the one that counts: best status, then highest tier; null without one
--   requests_this_month      of the calendar month (UTC) up to the moment; null where the rows are no longer kept
--   paid_cents               recorded until then, refunds and disputes taken off; null where in several currencies
--   paid                     the same by currency
--   known_from               since when the audit log knows the customer. At an earlier moment all else is null.
-- `user` is null, and so all else but known_from, when the row had been deleted. Times are UTC. A moment in the future
-- and a user that neither tables nor log know are errors.
CREATE FUNCTION customer_as_of(user_id uuid, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
#variable_conflict use_column
DECLARE
    owner CONSTANT uuid := customer_as_of.user_id;
    moment CONSTANT timestamptz := customer_as_of.at;
    owner_now CONSTANT jsonb := (SELECT to_jsonb(u) FROM users AS u WHERE u.id = owner);
    known_from timestamptz;
    owner_then jsonb;
    subscription jsonb;
    keys jsonb;
    paid jsonb;
    requests bigint;
BEGIN
    IF owner IS NULL OR moment IS NULL THEN
        RAISE EXCEPTION 'customer_as_of: % is NULL', CASE WHEN owner IS NULL THEN 'user_id' ELSE 'at' END
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF moment > clock_timestamp() THEN
        RAISE EXCEPTION 'customer_as_of: at is %, which is in the future', moment
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    SELECT CASE WHEN a.action = 'insert' THEN a.occurred_at ELSE l.begins_at END INTO known_from
    FROM audit_log AS a, (SELECT min(b.occurred_at) AS begins_at FROM audit_log AS b) AS l
    WHERE a.table_name = 'users' AND a.row_id = owner::text AND a.action IN ('insert', 'update', 'delete')
    ORDER BY a.id + 0  -- see row_as_of()
    LIMIT 1;
    IF NOT FOUND THEN
        IF owner_now IS NULL THEN
            RAISE EXCEPTION 'customer_as_of: there is and was no user %', owner
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        known_from := (SELECT min(a.occurred_at) FROM audit_log AS a);
    END IF;
    -- What retention removed was older than this.
    known_from := greatest(known_from, (
        SELECT max((a.new_values ->> 'before')::timestamptz) FROM audit_log AS a
        WHERE a.table_name = 'audit_log' AND a.action = 'retention'
    ));

    IF moment >= coalesce(known_from, '-infinity'::timestamptz) THEN
        owner_then := row_as_of('users', owner::text, owner_now, moment);
        owner_then := to_jsonb(jsonb_populate_record(NULL::users, owner_then)) - 'suspended_at'::text;
    END IF;
    IF owner_then IS NOT NULL THEN
        WITH theirs AS (
            SELECT s.id::text AS key FROM subscriptions AS s WHERE s.user_id = owner
            UNION
            SELECT a.row_id FROM audit_log AS a
            WHERE a.table_name = 'subscriptions' AND a.action IN ('update', 'delete')
                AND a.old_values ->> 'user_id' = owner::text
        )
        SELECT
            to_jsonb(t) || CASE
                WHEN s.usage_synced_at <= moment OR (s.id IS NOT NULL AND s.usage_synced_at IS NULL) THEN '{}'::jsonb
                ELSE '{"usage_count": null, "usage_synced_at": null}'::jsonb
            END
        INTO subscription
        FROM theirs
        LEFT JOIN subscriptions AS s ON s.id = theirs.key::uuid
        CROSS JOIN LATERAL jsonb_populate_record(
            NULL::subscriptions, row_as_of('subscriptions', theirs.key, to_jsonb(s), moment)
        ) AS t
        WHERE t.user_id = owner
            AND NOT t.is_duplicate
            AND t.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        ORDER BY
            array_position(ARRAY['active', 'past_due', 'trialing', 'paused', 'unpaid'], t.status),
            array_position(ARRAY['enterprise', 'professional', 'starter', 'free'], t.tier),
            t.created_at DESC,
            t.id
        LIMIT 1;

        WITH theirs AS (
            SELECT k.id::text AS key FROM api_keys AS k WHERE k.user_id = owner
            UNION
            SELECT a.row_id FROM audit_log AS a
            WHERE a.table_name = 'api_keys' AND a.action IN ('update', 'delete')
                AND a.old_values ->> 'user_id' = owner::text
        ),
        -- Without the hashes, which not everybody who may see a key may see.
        today AS (
            SELECT
                k.id, k.user_id, k.name, k.environment, k.key_prefix, k.usage_count, k.last_used_at, k.expires_at,
                k.revoked_at, k.revoked_reason, k.created_at, k.updated_at
            FROM api_keys AS k
            INNER JOIN theirs ON k.id = theirs.key::uuid
        )
        SELECT
            coalesce(jsonb_agg(
                to_jsonb(t) - '{key_hash,key_fast_hash}'::text[] || CASE
                    WHEN n.last_used_at <= moment OR (n.id IS NOT NULL AND n.last_used_at IS NULL) THEN '{}'::jsonb
                    ELSE '{"usage_count": null, "last_used_at": null}'::jsonb
                END
                ORDER BY t.created_at, t.id
            ), '[]'::jsonb)
        INTO keys
        FROM theirs
        LEFT JOIN today AS n ON n.id::text = theirs.key
        CROSS JOIN LATERAL jsonb_populate_record(
            NULL::api_keys, row_as_of('api_keys', theirs.key, to_jsonb(n), moment)
        ) AS t
        WHERE t.user_id = owner;

        requests := requests_as_of(owner, moment);
        paid := payments_as_of(owner, moment);
    END IF;

    RETURN jsonb_build_object(
        'user', owner_then,
        'subscription', subscription,
        'api_keys', keys,
        'requests_this_month', requests,
        'paid_cents', CASE
            WHEN paid IS NULL THEN NULL
            WHEN paid = '{}'::jsonb THEN 0
            WHEN (SELECT count(*) FROM jsonb_object_keys(paid) AS k (currency)) = 1
                THEN (SELECT p.cents::bigint FROM jsonb_each_text(paid) AS p (currency, cents))
        END,
        'paid', paid,
        'known_from', known_from
    );
END
$$;

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

--! functions/erase_arriving
-- Of an erased customer events and mirrored objects are stored without what they say of a person: Stripe may send it as
-- long as it has it. The argument names the column.
CREATE FUNCTION erase_arriving() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    content CONSTANT jsonb := to_jsonb(new) -> TG_ARGV[0];
    -- A mirrored row knows its customer even where the object does not name it.
    stripe_object CONSTANT jsonb := CASE TG_ARGV[0]
        WHEN 'payload' THEN content #> '{data,object}'
        ELSE content || jsonb_strip_nulls(jsonb_build_object(
            'customer', to_jsonb(new) -> 'customer_id', 'charge', to_jsonb(new) -> 'charge_id'
        ))
    END;
BEGIN
    IF is_of_erased(stripe_object) THEN
        new := jsonb_populate_record(new, jsonb_build_object(TG_ARGV[0], erased_stripe(content)));
        IF TG_ARGV[0] = 'stripe_data' THEN
            -- What dj-stripe keeps beside the object, where it does.
            new := jsonb_populate_record(new, jsonb_build_object(
                'metadata', erased_stripe(to_jsonb(new) -> 'metadata', 'metadata'), 'email', '', 'fingerprint', ''
            ));
        END IF;
    END IF;
    RETURN new;
END
$$;

--! functions/erase_audit_of
-- Erases what the audit log says of a customer; returns how many rows changed. Only for whom another person approved
-- that; what is erased is decided here, by erased_audit_rows(), and not by who calls. Every row keeps its seal.
CREATE FUNCTION erase_audit_of(customer uuid) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM require_approval('erase_customer', customer::text);
    RETURN erase_audit_values(ARRAY(SELECT e FROM erased_audit_rows(customer) AS e));
END
$$;

REVOKE EXECUTE ON FUNCTION erase_audit_of(uuid) FROM public;

--! functions/erase_document_links
-- Documents at Stripe say who paid: an erased customer's rows do not lead there.
CREATE FUNCTION erase_document_links() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM users AS u WHERE u.id = new.user_id AND u.erased_at IS NOT NULL) THEN
        new := jsonb_populate_record(new, (
            SELECT jsonb_object_agg(m.name, NULL) FROM unnest(TG_ARGV) AS m (name)
        ));
    END IF;
    RETURN new;
END
$$;

--! functions/erase_usage_of
-- Takes addresses and messages from up to `most` requests of a customer, and the reasons of corrections; returns of how
-- many rows. Only for whom another person approved that. Nothing that is counted changes.
CREATE FUNCTION erase_usage_of(customer uuid, most int DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    erased bigint;
    corrected bigint;
BEGIN
    PERFORM require_approval('erase_customer', customer::text);
    UPDATE api_usage AS r
    SET ip_address = NULL, error_message = NULL
    FROM (
        SELECT o.id, o.created_at
        FROM api_usage AS o
        WHERE o.user_id = customer AND (o.ip_address IS NOT NULL OR o.error_message IS NOT NULL)
        LIMIT most
    ) AS f
    WHERE r.id = f.id AND r.created_at = f.created_at;
    GET DIAGNOSTICS erased = ROW_COUNT;
    UPDATE usage_corrections SET reason = '[erased]' WHERE user_id = customer AND reason <> '[erased]';
    GET DIAGNOSTICS corrected = ROW_COUNT;
    RETURN erased + corrected;
END
$$;

REVOKE EXECUTE ON FUNCTION erase_usage_of(uuid, int) FROM public;

--! functions/erased_audit_rows
-- The rows of the audit log that say something of a customer, as they are to read once the customer is erased. Of rows
-- about the customer go name and address whatever they are, the words of notes, names of keys, and addresses in
-- reasons; of all other rows what personal_terms() names.
CREATE FUNCTION erased_audit_rows(customer uuid) RETURNS SETOF audit_log
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    pattern CONSTANT text := personal_pattern(personal_terms(customer));
    address CONSTANT text := '[[:alnum:]._%+-]+@[[:alnum:]-]+[.][[:alnum:].-]*[[:alnum:]]';
BEGIN
    RETURN QUERY
    WITH own AS (
        SELECT 'users' AS table_name, customer::text AS row_id
        UNION ALL
        SELECT 'api_keys', k.id::text FROM api_keys AS k WHERE k.user_id = customer
        UNION ALL
        SELECT 'stripe_customers', c.stripe_customer_id FROM stripe_customers AS c WHERE c.user_id = customer
        UNION ALL
        SELECT 'subscriptions', s.id::text FROM subscriptions AS s WHERE s.user_id = customer
        UNION ALL
        SELECT 'payment_history', p.id::text FROM payment_history AS p WHERE p.user_id = customer
        UNION ALL
        SELECT 'approvals', p.id::text FROM approvals AS p WHERE p.subject = customer::text
    ),

    about AS (
        SELECT a.* FROM own AS o JOIN audit_log AS a ON o.table_name = a.table_name AND o.row_id = a.row_id
    ),

    erased AS (
        SELECT jsonb_populate_record(a, jsonb_build_object(
            'old_values', nameless(a.table_name, erased_json(erased_json(a.old_values, pattern), address)),
            'new_values', nameless(a.table_name, erased_json(erased_json(a.new_values, pattern), address)),
            'reason', CASE
                WHEN a.action = 'add_note' THEN '[erased]'
                ELSE erased_text(erased_text(a.reason, pattern), address)
            END
        )) AS entry, a::audit_log AS before
        FROM audit_log AS a
        WHERE (a.id, a.occurred_at) IN (SELECT b.id, b.occurred_at FROM about AS b)
        UNION ALL
        SELECT jsonb_populate_record(a, jsonb_build_object(
            'old_values', erased_json(a.old_values, pattern),
            'new_values', erased_json(a.new_values, pattern),
            'reason', erased_text(a.reason, pattern)
        )), a
        FROM audit_log AS a
        WHERE pattern <> ''
            AND (a.old_values::text ~* pattern OR a.new_values::text ~* pattern OR a.reason ~* pattern)
            AND (a.id, a.occurred_at) NOT IN (SELECT b.id, b.occurred_at FROM about AS b)
            AND a.table_name NOT LIKE 'auth\_%' AND a.table_name NOT LIKE 'account\_%'
            AND a.table_name NOT LIKE 'socialaccount\_%' AND a.table_name <> 'audit_log'
    )

    SELECT (e.entry).* FROM erased AS e WHERE e.entry IS DISTINCT FROM e.before;
END
$$;

--! functions/erased_json
-- The value with `[erased]` in place of all that the pattern, of personal_pattern(), finds in its texts and keys.
CREATE FUNCTION erased_json(content jsonb, pattern text) RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
BEGIN
    IF pattern = '' OR content::text !~* pattern THEN
        RETURN content;
    END IF;
    RETURN CASE jsonb_typeof(content)
        WHEN 'string' THEN to_jsonb(erased_text(content #>> '{}', pattern))
        WHEN 'object' THEN (
            SELECT jsonb_object_agg(erased_text(m.key, pattern), erased_json(m.value, pattern))
            FROM jsonb_each(content) AS m
        )
        WHEN 'array' THEN (
            SELECT jsonb_agg(erased_json(m.value, pattern) ORDER BY m.n)
            FROM jsonb_array_elements(content) WITH ORDINALITY AS m (value, n)
        )
        ELSE content
    END;
END
$$;

--! functions/erased_stripe
-- A value of Stripe's without what it says of a person: numbers, ids, states, types, amounts and the catalogue stay.
-- What is known to stay is kept, and the rest goes, so that a member that Stripe adds does not slip through. `member`
-- is the name under which the value stands.
CREATE FUNCTION erased_stripe(content jsonb, member text DEFAULT '') RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    kind CONSTANT text := jsonb_typeof(content);
    said CONSTANT text := CASE WHEN kind = 'string' THEN content #>> '{}' END;
BEGIN
    IF member ~ '^(.*_)?(emails?|name|phone|address|ip|url|pdf|secret|fingerprint|last4|dob|exp_month|exp_year)$'
        OR member IN (
            'shipping', 'billing_details', 'customer_details', 'collected_information', 'custom_fields', 'evidence',
            'owner', 'customer_tax_ids', 'tax_ids', 'line1', 'line2', 'city', 'postal_code', 'description', 'message',
            'headers', 'body', 'mandate_data'
        )
    THEN
        RETURN CASE WHEN kind = 'array' THEN '[]'::jsonb ELSE 'null'::jsonb END;
    END IF;
    IF kind = 'object' THEN
        IF content ->> 'object' IN ('price', 'plan', 'product', 'coupon', 'promotion_code', 'tax_rate') THEN
            RETURN content;
        END IF;
        RETURN (
            SELECT coalesce(jsonb_object_agg(m.key, erased_stripe(m.value, m.key)), '{}'::jsonb)
            FROM jsonb_each(content) AS m
            -- Of what the seller's programs wrote beside the object only what names our own rows.
            WHERE member <> 'metadata' OR m.key IN ('user_id', 'cognito_user_id', 'tier')
        );
    END IF;
    IF kind = 'array' THEN
        RETURN (
            SELECT coalesce(jsonb_agg(erased_stripe(m.value, member) ORDER BY m.n), '[]'::jsonb)
            FROM jsonb_array_elements(content) WITH ORDINALITY AS m (value, n)
        );
    END IF;
    IF kind <> 'string'
        OR said ~ '^[a-z][a-z0-9]*(_[A-Za-z0-9]+)*$'
        OR (
            member IN (
                'id', 'object', 'type', 'api_version', 'price', 'product', 'plan', 'coupon', 'lookup_key', 'user_id',
                'cognito_user_id', 'client_reference_id', 'idempotency_key'
            )
            AND said ~ '^[A-Za-z0-9._-]+$'
        )
        OR (member IN ('number', 'receipt_number', 'invoice_prefix') AND said ~ '^[A-Z0-9-]+$')
        OR (member LIKE '%\_decimal' AND said ~ '^-?[0-9.]+$')
    THEN
        RETURN content;
    END IF;
    RETURN 'null'::jsonb;
END
$$;

--! functions/erased_text
-- The text with `[erased]` in place of all that the pattern, of personal_pattern(), finds.
CREATE FUNCTION erased_text(content text, pattern text) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT CASE WHEN pattern <> '' THEN regexp_replace(content, pattern, '[erased]', 'gi') ELSE content END
$$;

--! functions/events_of_customer
-- The events of the inbox that are about a customer: their customers at Stripe, what belongs to those, and what belongs
-- to their payments without naming a customer, such as a dispute.
CREATE FUNCTION events_of_customer(customer uuid) RETURNS SETOF stripe_webhook_events
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT e.*
    FROM stripe_webhook_events AS e
    WHERE e.id IN (
        SELECT f.id
        FROM (
            SELECT jsonb_build_object(m.name, c.stripe_customer_id) AS member
            FROM stripe_customers AS c CROSS JOIN unnest('{id,customer}'::text[]) AS m (name)
            WHERE c.user_id = customer
            UNION ALL
            SELECT jsonb_build_object('customer', jsonb_build_object('id', c.stripe_customer_id))
            FROM stripe_customers AS c
            WHERE c.user_id = customer
            UNION ALL
            SELECT jsonb_build_object('charge', p.stripe_charge_id)
            FROM payment_history AS p
            WHERE p.user_id = customer AND p.stripe_charge_id IS NOT NULL
        ) AS w
        JOIN stripe_webhook_events AS f
            ON f.payload @> jsonb_build_object('data', jsonb_build_object('object', w.member))
    )
$$;

--! functions/is_of_erased
-- Whether an object of Stripe's belongs to a customer who was erased: itself, by its customer or by its payment.
CREATE FUNCTION is_of_erased(stripe_object jsonb) RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    named text[];
BEGIN
    -- Of most installations most of the time there is none.
    IF NOT EXISTS (SELECT FROM users AS u WHERE u.erased_at IS NOT NULL) THEN
        RETURN false;
    END IF;
    named := (
        SELECT array_agg(coalesce(stripe_object -> m.name ->> 'id', stripe_object ->> m.name))
        FROM unnest('{id,customer,charge,payment_intent,invoice,subscription}'::text[]) AS m (name)
        WHERE coalesce(stripe_object -> m.name ->> 'id', stripe_object ->> m.name) IS NOT NULL
    );
    RETURN EXISTS (
        SELECT FROM stripe_customers AS c
        JOIN users AS u ON c.user_id = u.id
        WHERE c.stripe_customer_id = ANY (named) AND u.erased_at IS NOT NULL
    ) OR EXISTS (
        SELECT FROM subscriptions AS s
        JOIN users AS u ON s.user_id = u.id
        WHERE s.stripe_subscription_id = ANY (named) AND u.erased_at IS NOT NULL
    ) OR EXISTS (
        SELECT FROM payment_history AS p
        JOIN users AS u ON p.user_id = u.id
        WHERE u.erased_at IS NOT NULL
            AND (
                p.stripe_charge_id = ANY (named) OR p.stripe_payment_intent_id = ANY (named)
                OR p.stripe_invoice_id = ANY (named)
            )
    );
END
$$;

--! functions/keep_erased
-- Whoever writes an erased customer's row, Stripe's events, Cognito's sync or a person, brings nobody back by it.
CREATE FUNCTION keep_erased() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    new.email := NULL;
    new.name := '';
    IF new.status = 'active' THEN
        new.status := 'suspended';
    END IF;
    RETURN new;
END
$$;

--! functions/lease_rate_limit
-- Counts up to n requests of a key at once, for a server that checks thousands a second: it hands them out by itself
-- until expires_at, at most five seconds, and never beyond the minute in which they were counted, or extra quota that
-- made room for them. So no window is used beyond its limit, a key that is revoked meanwhile is served for five seconds
-- at most, and a permit that is not used stays counted. Returns one row: how many were granted, as many as the tighter
-- window has room for, until when (NULL when none was), and the reason as check_rate_limit() gives it.
CREATE OR REPLACE FUNCTION lease_rate_limit(api_key_id uuid, n int)
RETURNS TABLE (granted int, expires_at timestamptz, reason text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    taken record;
BEGIN
    IF lease_rate_limit.api_key_id IS NULL THEN
        RAISE EXCEPTION 'lease_rate_limit: api_key_id is NULL' USING ERRCODE = 'invalid_parameter_value';
    ELSIF n IS NULL OR n < 1 THEN
        RAISE EXCEPTION 'lease_rate_limit: n is %, but must be 1 or more', coalesce(n::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    taken := take_rate_limit(lease_rate_limit.api_key_id, n);
    granted := taken.granted;
    reason := taken.reason;
    IF granted > 0 THEN
        expires_at := least(clock_timestamp() + interval '5 seconds', taken.serve_until);
    END IF;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION lease_rate_limit(uuid, int) FROM public;

--! functions/nameless
-- What an audit row says of a row of the table, with `[erased]` for names and addresses that it holds.
CREATE FUNCTION nameless(of_table text, said jsonb) RETURNS jsonb
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT CASE
        WHEN of_table IN ('users', 'api_keys') THEN said || coalesce((
            SELECT jsonb_object_agg(m.key, '[erased]')
            FROM jsonb_each(said) AS m
            WHERE m.key IN ('email', 'name', 'legal_hold') AND m.value NOT IN ('null', '""')
        ), '{}'::jsonb)
        ELSE said
    END
$$;

--! functions/number_usage_correction
-- Gives a correction its number among those of its customer's month, and refuses one of a month that has not begun and
-- one that would leave less than nothing. Those of one customer queue behind each other until their transactions end.
CREATE FUNCTION number_usage_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    used numeric;
BEGIN
    IF NEW.month > this_month THEN
        RAISE EXCEPTION 'usage_corrections: the month % has not begun', to_char(NEW.month, 'YYYY-MM')
            USING ERRCODE = 'check_violation',
                  HINT = format('It is %s or earlier, in UTC.', to_char(this_month, 'YYYY-MM'));
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(format('usage_corrections %s', NEW.user_id), 0));
    NEW.number := 1 + (
        SELECT count(*) FROM usage_corrections AS c WHERE c.user_id = NEW.user_id AND c.month = NEW.month
    );
    used := coalesce(
        (
            SELECT q.counted_requests::numeric + q.corrected_requests::numeric
            FROM quota_usage AS q
            WHERE q.user_id = NEW.user_id AND q.month = NEW.month
        ), 0
    );
    IF NEW.requests < 0 AND used + NEW.requests::numeric < 0::numeric THEN
        RAISE EXCEPTION 'usage_corrections: % of % counts % requests, from which % cannot be taken',
            to_char(NEW.month, 'YYYY-MM'), NEW.user_id, used, -NEW.requests::numeric
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

--! functions/payments_as_of
-- What a user had paid at a moment, by currency, as a JSON object of cents: the movements that were recorded here by
-- then, refunds and disputes taken off, of the payments that were the user's then. Payments that went to another user
-- since, or were deleted, are found in the audit log.
CREATE FUNCTION payments_as_of(owner uuid, at timestamptz) RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
    WITH moved AS MATERIALIZED (
        SELECT a.row_id FROM audit_log AS a
        WHERE a.table_name = 'payment_history' AND a.action IN ('update', 'delete')
            AND a.old_values ->> 'user_id' = owner::text
        UNION
        SELECT a.row_id FROM audit_log AS a
        WHERE a.table_name = 'payment_history' AND a.action = 'update'
            AND a.new_values @> jsonb_build_object('user_id', owner)
    ),
    come_and_gone AS MATERIALIZED (
        SELECT m.row_id, row_as_of('payment_history', m.row_id, jsonb_build_object('user_id', p.user_id), at) AS state
        FROM moved AS m
        LEFT JOIN payment_history AS p ON p.id = m.row_id::uuid
    ),
    counted AS (
        SELECT m.currency, m.amount_cents
        FROM payment_history AS p
        INNER JOIN payment_movements AS m ON m.payment_id = p.id
        WHERE p.user_id = owner AND m.created_at <= at
            AND NOT EXISTS (SELECT FROM come_and_gone AS c WHERE c.row_id = p.id::text)
        UNION ALL
        SELECT m.currency, m.amount_cents
        FROM come_and_gone AS c
        INNER JOIN payment_movements AS m ON m.payment_id = c.row_id::uuid
        WHERE c.state ->> 'user_id' = owner::text AND m.created_at <= at
        UNION ALL
        -- They went with their payment.
        SELECT m.old_values ->> 'currency', (m.old_values ->> 'amount_cents')::bigint
        FROM come_and_gone AS c
        INNER JOIN audit_log AS m
            ON m.table_name = 'payment_movements' AND m.action = 'delete' AND m.old_values ->> 'payment_id' = c.row_id
        WHERE c.state ->> 'user_id' = owner::text
            AND m.occurred_at > at
            AND (m.old_values ->> 'created_at')::timestamptz <= at
    )
    SELECT coalesce(jsonb_object_agg(s.currency, s.cents), '{}'::jsonb)
    FROM (SELECT c.currency, sum(c.amount_cents)::bigint AS cents FROM counted AS c GROUP BY c.currency) AS s
    WHERE s.cents <> 0
$$;

--! functions/personal_pattern
-- A regular expression that finds the terms in texts, whatever their case, as whole words, the longest first; empty
-- without terms. An address of one is not found in another that ends or begins with it.
CREATE FUNCTION personal_pattern(terms text[]) RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(
        string_agg(
            CASE
                WHEN t.term ~ '@|%40' THEN '(?<![[:alnum:]._%+-])' || t.escaped || '(?![[:alnum:]]|[.-][[:alnum:]])'
                ELSE '(?<![[:alnum:]])' || t.escaped || '(?![[:alnum:]])'
            END,
            '|' ORDER BY length(t.term) DESC, t.term
        ),
        ''
    )
    FROM (
        SELECT u.term, regexp_replace(u.term, '([^[:alnum:][:space:]])', '\\\1', 'g') AS escaped
        FROM unnest(terms) AS u (term)
    ) AS t
$$;

--! functions/personal_terms
-- What a customer can be recognised by wherever it stands: addresses, names, telephone numbers and IP addresses, of now
-- and of before. Left out is what says little: short words, words of our own, which stand in the functions of this
-- database, addresses of private networks, and what another customer is called too, for in a text nobody can tell which
-- of them is meant.
CREATE FUNCTION personal_terms(customer uuid) RETURNS text[]
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET jit = off
AS $$
    WITH customers AS (
        SELECT array_agg(c.stripe_customer_id) AS ids FROM stripe_customers AS c WHERE c.user_id = customer
    ),

    documents AS (
        SELECT d.stripe_data AS content FROM customers AS c JOIN djstripe_customer AS d ON d.id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_charge AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_invoice AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_paymentmethod AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data FROM customers AS c JOIN djstripe_session AS d ON d.customer_id = ANY (c.ids)
        UNION ALL
        SELECT d.stripe_data
        FROM customers AS c
        JOIN djstripe_charge AS h ON h.customer_id = ANY (c.ids)
        JOIN djstripe_dispute AS d ON h.id = d.charge_id
        UNION ALL
        SELECT e.payload FROM events_of_customer(customer) AS e
    ),

    said AS (
        SELECT u.email AS content FROM users AS u WHERE u.id = customer
        UNION ALL
        SELECT u.name FROM users AS u WHERE u.id = customer
        UNION ALL
        SELECT v.content
        FROM audit_log AS a
        CROSS JOIN unnest(ARRAY[
            a.old_values ->> 'email', a.new_values ->> 'email', a.old_values ->> 'name', a.new_values ->> 'name'
        ]) AS v (content)
        WHERE a.table_name = 'users' AND a.row_id = customer::text
        UNION ALL
        SELECT p FROM documents AS d CROSS JOIN personal_values(d.content) AS p
        UNION ALL
        SELECT DISTINCT host(r.ip_address) FROM api_usage AS r WHERE r.user_id = customer
    ),

    terms AS (
        SELECT DISTINCT btrim(s.content) AS term FROM said AS s
    ),

    telling AS (
        SELECT t.term
        FROM terms AS t
        WHERE length(t.term) BETWEEN 5 AND 500
            AND CASE
                WHEN t.term ~ '@' THEN true
                WHEN t.term ~ '^[0-9.]+$' OR t.term ~ '^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$' THEN
                    t.term !~ '^(10\.|127\.|192\.168\.|169\.254\.|172\.(1[6-9]|2[0-9]|3[01])\.|::1$|f[cde])'
                    AND length(t.term) >= 7
                WHEN t.term ~ '^[-+() ./0-9]+$' THEN length(regexp_replace(t.term, '[^0-9]', '', 'g')) >= 7
                ELSE length(t.term) >= 6 AND NOT EXISTS (
                    SELECT FROM pg_proc AS f
                    WHERE f.pronamespace = 'public'::regnamespace AND f.prosrc ~* personal_pattern(ARRAY[t.term])
                )
            END
            AND NOT EXISTS (
                SELECT FROM users AS u
                WHERE u.id <> customer
                    AND (
                        lower(u.email) = lower(t.term)
                        OR (upper(left(u.name, 200)) = upper(left(t.term, 200)) AND lower(u.name) = lower(t.term))
                    )
            )
            AND NOT EXISTS (SELECT FROM plans AS p WHERE lower(t.term) IN (lower(p.name), p.tier))
    )

    SELECT coalesce(array_agg(DISTINCT v.term), '{}')
    FROM telling AS t
    -- As it stands in a link.
    CROSS JOIN unnest(ARRAY[t.term, replace(replace(t.term, '@', '%40'), '+', '%2B')]) AS v (term)
$$;

--! functions/personal_values
-- What objects of Stripe's inside the value say of a person: names, addresses, telephone numbers, and IP addresses.
CREATE FUNCTION personal_values(content jsonb) RETURNS SETOF text
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT DISTINCT m.value #>> '{}'
    FROM jsonb_path_query(content, '$.** ? (@.type() == "object")') AS o
    CROSS JOIN jsonb_each(o) AS m
    WHERE jsonb_typeof(m.value) = 'string'
        AND (
            m.key ~ '^(.*_)?(email|phone|ip)$'
            OR m.key IN ('line1', 'line2', 'address_line1', 'address_line2', 'customer_name', 'customer_email_address')
            -- What is sold has a name too.
            OR (m.key = 'name' AND (o ?| '{email,phone,address}' OR o ->> 'object' = 'card'))
        )
$$;

--! functions/recorded_requests
DROP FUNCTION recorded_requests;

-- The requests of a user that were recorded in the month that begins then, what is not folded yet included, and how
-- many of them do not count; for take_rate_limit(), which asks only once the month has room for less than a tenth of
-- its limit or for less than 1,000: the queue has no index, as that would cost every insert, and reading it costs
-- milliseconds. Until then a request that nobody checked counts when it is folded, within a minute. Under a limit of
-- 1,000 the rows themselves are few, have an index, and are counted up to that limit.
--
-- Where quota_rule leaves out what was not served, 5xx is recorded and does not count. Of what was answered with 429,
-- as many as were `refused` were never counted, and so are not among the recorded; what was answered so beyond them had
-- been allowed, and does not count. Where it is not known how many were refused (NULL), all are taken for refused.
CREATE FUNCTION recorded_requests(
    owner uuid,
    month_start timestamptz,
    monthly_limit bigint,
    refused bigint,
    OUT recorded bigint,
    OUT uncounted bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    only_served CONSTANT boolean := coalesce((SELECT r.counts = 'served' FROM quota_rule AS r), false);
    -- What was not served leaves room, so that there may be more rows than the limit.
    most_rows CONSTANT bigint := CASE WHEN only_served THEN 1000 ELSE greatest(monthly_limit, 0) END;
    answered_429 bigint;
    answered_5xx bigint;
BEGIN
    IF monthly_limit <= 1000 THEN
        SELECT
            count(*),
            count(*) FILTER (WHERE counted.status_code = 429),
            count(*) FILTER (WHERE counted.status_code >= 500)
        INTO recorded, answered_429, answered_5xx
        FROM (
            SELECT a.status_code
            FROM api_usage AS a
            WHERE a.user_id = owner AND a.created_at >= month_start AND a.created_at < month_end
            LIMIT most_rows
        ) AS counted;
    END IF;
    IF monthly_limit > 1000 OR only_served AND recorded = most_rows THEN
        SELECT m.total_requests, m.throttled_requests, m.server_errors INTO recorded, answered_429, answered_5xx
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    END IF;
    recorded := coalesce(recorded, 0);
    uncounted := 0;
    IF only_served AND recorded > 0 THEN
        uncounted := answered_5xx + greatest(answered_429 - refused, 0);
        recorded := recorded - answered_429 + greatest(answered_429 - refused, 0);
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION recorded_requests(uuid, timestamptz, bigint, bigint) FROM public;

--! functions/refuse_key_of_another
-- A row that names a customer and a key of theirs names no key of somebody else's.
CREATE FUNCTION refuse_key_of_another() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM api_keys AS k WHERE k.id = NEW.api_key_id AND k.user_id = NEW.user_id) THEN
        RAISE EXCEPTION '%: customer % has no API key %', TG_TABLE_NAME, NEW.user_id, NEW.api_key_id
            USING ERRCODE = 'foreign_key_violation', HINT = 'Leave api_key_id empty for all keys of the customer.';
    END IF;
    RETURN NEW;
END
$$;

--! functions/refuse_unerasing
-- What was erased is gone: the row stays the one of somebody who was erased.
CREATE FUNCTION refuse_unerasing() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'users: customer % was erased on % and stays so', old.id, (old.erased_at AT TIME ZONE 'UTC')::date
        USING ERRCODE = 'restrict_violation';
END
$$;

--! functions/refuse_usage_correction_change
-- Corrections of usage are append-only, whoever asks: what was wrong is corrected by another one. They go with their
-- customer, who is gone already when the cascade reaches them, and their reasons with who is erased.
CREATE FUNCTION refuse_usage_correction_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM users AS u WHERE u.id = OLD.user_id) THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.reason = '[erased]' AND to_jsonb(NEW) - 'reason'::text = to_jsonb(OLD) - 'reason'::text THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'usage_corrections: rows are append-only'
        USING ERRCODE = 'insufficient_privilege',
              DETAIL = format('%s was refused.', TG_OP),
              HINT = 'Correct it by another row with the opposite sign.';
END
$$;

--! functions/requests_as_of
-- The requests of a user from the beginning of the calendar month (UTC) of a moment up to it, by their own dates; NULL
-- where that is not known any more. The month's total is exact at its last request, whatever became of the rows. Before
-- that the rows are counted, if they are all there still: not when their partition was dropped or some were deleted.
CREATE FUNCTION requests_as_of(owner uuid, at timestamptz) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    month_start CONSTANT timestamptz := date_trunc('month', at, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    total bigint;
    last_request_at timestamptz;
    kept bigint;
    requests bigint;
BEGIN
    SELECT m.total_requests, m.last_request_at INTO total, last_request_at
    FROM monthly_usage_summary AS m
    WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    IF total IS NULL OR last_request_at <= at THEN
        RETURN coalesce(total, 0);
    END IF;
    SELECT count(*), count(*) FILTER (WHERE a.created_at <= at) INTO kept, requests
    FROM api_usage AS a
    WHERE a.user_id = owner AND a.created_at >= month_start AND a.created_at < month_end;
    RETURN CASE WHEN kept = total THEN requests END;
END
$$;

--! functions/roll_up_usage_of
-- The fold itself, of the customers' rows or of all (NULL); returns how many queued rows it took. For roll_up_usage()
-- only, which holds the lock. One statement deletes and adds, so nothing is counted twice or lost. A key that somebody
-- else is changing is left for the next call, so that the fold never takes part in a deadlock.
--
-- Where a row stands in the way of the others, each half is folded on its own, down to the customer whose it is.
CREATE OR REPLACE FUNCTION roll_up_usage_of(customers uuid[]) RETURNS bigint -- noqa: LT01
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    folded bigint;
    middle int;
BEGIN
    WITH keys AS MATERIALIZED (
        SELECT k.id
        FROM api_keys AS k
        WHERE k.id IN (
            SELECT d.api_key_id FROM api_usage_deltas AS d WHERE customers IS NULL OR d.user_id = ANY (customers)
        )
        ORDER BY k.id
        FOR NO KEY UPDATE SKIP LOCKED
    ),
    queued AS (
        DELETE FROM api_usage_deltas AS d
        WHERE (customers IS NULL OR d.user_id = ANY (customers))
            AND (
                d.api_key_id IS NULL
                OR d.api_key_id IN (SELECT keys.id FROM keys)
                OR NOT EXISTS (SELECT 1 FROM api_keys AS k WHERE k.id = d.api_key_id)
            )
        RETURNING *
    ),
    -- The one pass over what may be a million rows: everything after it works on users and keys.
    counted AS MATERIALIZED (
        SELECT
            q.user_id,
            q.api_key_id,
            q.month,
            count(*) AS queued,
            sum(q.total_requests) AS total_requests,
            sum(q.failed_requests) AS failed_requests,
            sum(q.total_response_time_ms) AS total_response_time_ms,
            max(q.max_response_time_ms) AS max_response_time_ms,
            max(q.last_request_at) AS last_request_at,
            sum(q.throttled_requests) AS throttled_requests,
            sum(q.server_errors) AS server_errors
        FROM queued AS q
        GROUP BY q.user_id, q.api_key_id, q.month
    ),
    totals AS (
        INSERT INTO monthly_usage_totals AS t (
            user_id, month, total_requests, successful_requests, failed_requests,
            total_response_time_ms, max_response_time_ms, last_request_at, throttled_requests, server_errors
        )
        SELECT
            c.user_id,
            c.month,
            sum(c.total_requests),
            sum(c.total_requests - c.failed_requests),
            sum(c.failed_requests),
            least(sum(c.total_response_time_ms), 9223372036854775807)::bigint,
            max(c.max_response_time_ms),
            max(c.last_request_at),
            sum(c.throttled_requests),
            sum(c.server_errors)
        FROM counted AS c
        GROUP BY c.user_id, c.month
        ON CONFLICT (user_id, month) DO UPDATE
        SET
            total_requests = t.total_requests + excluded.total_requests,
            successful_requests = t.successful_requests + excluded.successful_requests,
            failed_requests = t.failed_requests + excluded.failed_requests,
            total_response_time_ms = least(
                t.total_response_time_ms::numeric + excluded.total_response_time_ms::numeric, 9223372036854775807
            )::bigint,
            max_response_time_ms = greatest(t.max_response_time_ms, excluded.max_response_time_ms),
            last_request_at = greatest(t.last_request_at, excluded.last_request_at),
            throttled_requests = t.throttled_requests + excluded.throttled_requests,
            server_errors = t.server_errors + excluded.server_errors
    ),
    used AS (
        UPDATE api_keys AS k
        SET
            -- As far as the column counts.
            usage_count = least(k.usage_count + u.requests::bigint, 1000000000000000),
            last_used_at = greatest(k.last_used_at, u.last_request_at)
        FROM (
            SELECT
                c.api_key_id,
                sum(c.total_requests)::bigint AS requests,
                max(c.last_request_at) AS last_request_at
            FROM counted AS c
            WHERE c.api_key_id IS NOT NULL
            GROUP BY c.api_key_id
        ) AS u
        WHERE k.id = u.api_key_id
    )
    SELECT coalesce(sum(c.queued), 0) INTO folded FROM counted AS c;
    RETURN folded;
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
    IF cardinality(customers) = 1 THEN
        PERFORM leave_out(format('roll_up_usage: left out customer %s: %s', customers[1], SQLERRM));
        RETURN 0;
    END IF;
    IF customers IS NULL THEN
        customers := ARRAY(SELECT DISTINCT d.user_id FROM api_usage_deltas AS d);
    END IF;
    middle := cardinality(customers) / 2;
    RETURN CASE WHEN middle > 0 THEN roll_up_usage_of(customers[:middle]) ELSE 0 END
        + roll_up_usage_of(customers[middle + 1:]);
END
$$;

REVOKE EXECUTE ON FUNCTION roll_up_usage_of(uuid[]) FROM public;

--! functions/search_form
-- An address and a name as they are searched: in small letters and without accents, ß as ss. An index is built on it,
-- so what it makes of a text never changes.
CREATE FUNCTION search_form(email text, name text) RETURNS text
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
SET search_path = public, pg_temp
AS $$
    SELECT translate(
        replace(replace(replace(
            regexp_replace(normalize(lower(person.given), NFKD), '[\u0300-\u036f]', '', 'g'),
            'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
        'øłđı', 'oldi'
    )
    FROM (SELECT coalesce(email, '') || ' ' || coalesce(name, '') AS given) AS person
$$;

--! functions/take_rate_limit
DROP FUNCTION take_rate_limit;

-- Counts up to `wanted` requests of a key, as many as the key's minute and its user's month have room for, and says
-- how many those were; for check_rate_limit() and lease_rate_limit() only, which say what the reasons mean. It runs
-- for every request, so it pins no search_path: its two callers do, and nobody else may call it.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass a limit:
-- call it on its own. A month has used what was checked or what was recorded, whichever is more; see
-- recorded_requests() for when it asks. Extra quota, corrections of usage and requests that do not count by quota_rule
-- are room in a month; its counters know nothing of them. `serve_until` is when the minute or extra quota ends.
CREATE FUNCTION take_rate_limit(
    key uuid,
    wanted int,
    OUT granted int,
    OUT remaining bigint,
    OUT reset_at timestamptz,
    OUT reason text,
    OUT serve_until timestamptz
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();
    minute_start CONSTANT timestamptz := date_trunc('minute', moment);
    minute_end CONSTANT timestamptz := minute_start + interval '1 minute';
    month_start CONSTANT timestamptz := date_trunc('month', moment, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    is_lease CONSTANT boolean := wanted > 1;
    owner uuid;
    per_minute bigint;
    per_month bigint;
    extra_per_minute bigint;
    extra_room bigint;
    used_this_minute bigint;
    used_this_month bigint;
    only_served boolean;
    recorded bigint;
    uncounted bigint;
    refused bigint;
    asked record;
    late bigint := 0;
    -- Counted by take_rate_limit_permits(), if ever a caller in this database was.
    has_permits CONSTANT boolean := pg_sequence_last_value('rate_limit_permits_seq') IS NOT NULL;
    permits_this_minute bigint := 0;
    permits_this_month bigint := 0;
BEGIN
    granted := 0;
    remaining := 0;
    SELECT
        k.user_id,
        e.rate_limit_per_minute,
        e.monthly_request_limit,
        coalesce(q.counts = 'served', false),
        coalesce(t.total_requests - CASE q.counts WHEN 'served' THEN t.throttled_requests ELSE 0 END, 0),
        coalesce(CASE q.counts WHEN 'served' THEN t.server_errors END, 0),
        coalesce(g.extra_per_minute, 0),
        coalesce(g.extra_requests, 0) - coalesce(c.requests, 0),
        least(g.ends_at, minute_end)
    INTO owner, per_minute, per_month, only_served, recorded, uncounted, extra_per_minute, extra_room, serve_until
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN quota_rule AS q ON true
    LEFT JOIN entitlements AS e ON e.user_id = k.user_id
    LEFT JOIN monthly_usage_totals AS t ON t.user_id = k.user_id AND t.month = (month_start AT TIME ZONE 'UTC')::date
    LEFT JOIN LATERAL (
        SELECT
            sum(f.extra_requests) AS extra_requests,
            sum(f.extra_per_minute) AS extra_per_minute,
            min(f.ends_at) AS ends_at
        FROM entitlement_grants AS f
        WHERE f.user_id = k.user_id
            AND f.ends_at > moment
            AND f.starts_at <= moment
            AND (f.api_key_id IS NULL OR f.api_key_id = k.id)
    ) AS g ON true
    LEFT JOIN LATERAL (
        SELECT sum(f.requests) AS requests
        FROM usage_corrections AS f
        WHERE f.user_id = k.user_id AND f.month = (month_start AT TIME ZONE 'UTC')::date
    ) AS c ON true
    WHERE k.id = key
        AND u.status = 'active'
        AND k.revoked_at IS NULL
        AND coalesce(k.expires_at > moment, true);
    IF NOT FOUND THEN
        reason := 'key';
        RETURN;
    END IF;
    IF per_minute IS NULL THEN  -- no subscription
        SELECT p.rate_limit_per_minute, p.monthly_request_limit INTO per_minute, per_month
        FROM plans AS p
        WHERE p.tier = 'free';
    END IF;
    per_minute := per_minute + extra_per_minute;
    per_month := per_month + least(extra_room + uncounted, 9223372036854775807 - per_month);

    PERFORM pg_advisory_xact_lock(hashtextextended(format('check_rate_limit %s', owner), 0));
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        SELECT t.granted, t.used_this_minute, t.used_this_month, t.per_month
        INTO granted, used_this_minute, used_this_month, per_month
        FROM take_rate_limit_permits(
            key, owner, wanted, per_minute, per_month, recorded, uncounted, minute_start, month_start, month_end
        ) AS t;
    ELSE
        IF has_permits THEN
            permits_this_minute := last_rate_limit_permit(key, 60, minute_start);
            permits_this_month := last_rate_limit_permit(owner, month_seconds, month_start);
        END IF;
        wanted := greatest(least(wanted, per_minute), 1);

        -- First all that is wanted is counted; what was too much is taken back below. The lock hides it until then.
        UPDATE rate_limits AS r SET request_count = r.request_count + wanted
        WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start
        RETURNING r.request_count + permits_this_minute INTO used_this_minute;
        IF NOT FOUND THEN
            used_this_minute := permits_this_minute + wanted;
            INSERT INTO rate_limits (api_key_id, window_start, window_seconds, request_count, expires_at)
            VALUES (key, minute_start, 60, wanted, minute_end);
        END IF;
        IF per_month IS NOT NULL THEN
            UPDATE rate_limits AS r
            SET request_count = greatest(r.request_count, recorded - permits_this_month) + wanted,
                refused_count = CASE WHEN NOT is_lease THEN r.refused_count END
            WHERE r.user_id = owner AND r.window_start = month_start
            RETURNING r.request_count + permits_this_month, r.refused_count INTO used_this_month, refused;
            IF NOT FOUND THEN
                used_this_month := greatest(recorded, permits_this_month) + wanted;
                refused := CASE WHEN NOT is_lease THEN 0 END;
                INSERT INTO rate_limits (
                    api_key_id, window_start, window_seconds, request_count, expires_at, user_id, refused_count
                )
                VALUES (
                    key, month_start, month_seconds, used_this_month - permits_this_month, month_end, owner, refused
                )
                -- The key had another owner, who goes on from what was recorded.
                ON CONFLICT (api_key_id, window_seconds, window_start)
                DO UPDATE SET
                    request_count = excluded.request_count,
                    user_id = excluded.user_id,
                    refused_count = excluded.refused_count;
            END IF;
            IF per_month - used_this_month < greatest(1000, per_month / 10) THEN
                -- Who counts by permits refuses without a count.
                asked := recorded_requests(owner, month_start, per_month, CASE WHEN NOT has_permits THEN refused END);
                late := greatest(asked.recorded - (used_this_month - wanted), 0);
                used_this_month := used_this_month + late;
                per_month := per_month + asked.uncounted - uncounted;
            END IF;
        END IF;
        IF has_permits THEN
            -- Tells callers with an older snapshot that the windows have their rows.
            INSERT INTO rate_limit_permits (holder, window_start, window_seconds, number, expires_at)
            SELECT key, minute_start, 60, -1, minute_end
            UNION ALL
            SELECT owner, month_start, month_seconds, -1, month_end WHERE per_month IS NOT NULL
            ON CONFLICT DO NOTHING;
        END IF;

        granted := greatest(wanted - greatest(used_this_minute - per_minute, used_this_month - per_month, 0), 0);
        IF granted < wanted THEN
            used_this_minute := used_this_minute - (wanted - granted);
            UPDATE rate_limits AS r SET request_count = r.request_count - (wanted - granted)
            WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start;
        END IF;
        IF (granted < wanted OR late > 0) AND per_month IS NOT NULL THEN
            used_this_month := used_this_month - (wanted - granted);
            UPDATE rate_limits AS r
            SET request_count = r.request_count - (wanted - granted) + late,
                refused_count = r.refused_count + CASE WHEN only_served THEN wanted - granted ELSE 0 END
            WHERE r.user_id = owner AND r.window_start = month_start;
        END IF;
    END IF;

    IF granted > 0 THEN
        reason := 'ok';
        remaining := least(per_minute - used_this_minute, per_month - used_this_month);
    ELSE
        reason := CASE WHEN used_this_month >= per_month THEN 'quota' ELSE 'rate' END;
    END IF;
    reset_at := CASE
        WHEN reason = 'quota' OR reason = 'ok' AND per_month - used_this_month < per_minute - used_this_minute
            THEN month_end
        ELSE minute_end
    END;
END
$$;

REVOKE EXECUTE ON FUNCTION take_rate_limit(uuid, int) FROM public;

--! functions/take_rate_limit_permits
DROP FUNCTION take_rate_limit_permits;

-- How take_rate_limit() counts under repeatable read and serializable; the table rate_limit_permits says why not in
-- rate_limits. What rate_limits has counted is added; where that has changed since the transaction's snapshot, which
-- happens only while callers of one user count in both ways at once, the call fails to serialize. Returns what was
-- granted, at most 1,000, what both windows have used then, and the month's limit with the room that requests leave
-- which do not count, as many as there are by now.
CREATE FUNCTION take_rate_limit_permits(
    key uuid,
    owner uuid,
    wanted int,
    per_minute bigint,
    INOUT per_month bigint,
    recorded bigint,
    uncounted bigint,
    minute_start timestamptz,
    month_start timestamptz,
    month_end timestamptz,
    OUT granted int,
    OUT used_this_minute bigint,
    OUT used_this_month bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    minute_end CONSTANT timestamptz := minute_start + interval '1 minute';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    counted_this_minute bigint;
    counted_this_month bigint;
    asked record;
    last bigint;
BEGIN
    PERFORM nextval('rate_limit_permits_seq');
    granted := 0;

    SELECT r.request_count INTO counted_this_minute
    FROM rate_limits AS r
    WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start
    FOR NO KEY UPDATE;
    used_this_minute := coalesce(counted_this_minute, 0);
    IF per_month IS NOT NULL THEN
        SELECT r.request_count INTO counted_this_month
        FROM rate_limits AS r
        WHERE r.user_id = owner AND r.window_start = month_start
        FOR NO KEY UPDATE;
        used_this_month := greatest(counted_this_month, recorded);
        IF per_month - used_this_month < greatest(1000, per_month / 10) THEN
            asked := recorded_requests(owner, month_start, per_month, NULL);
            used_this_month := greatest(used_this_month, asked.recorded);
            per_month := per_month + asked.uncounted - uncounted;
        END IF;
        IF used_this_month >= per_month THEN
            RETURN;
        END IF;
    END IF;

    SELECT p.granted, p.last INTO granted, last
    FROM number_rate_limit_permits(
        key, 60, minute_start, minute_end, counted_this_minute, used_this_minute, per_minute, least(wanted, 1000)
    ) AS p;
    used_this_minute := last;
    IF per_month IS NOT NULL AND granted > 0 THEN
        SELECT p.granted, p.last INTO granted, last
        FROM number_rate_limit_permits(
            owner, month_seconds, month_start, month_end, counted_this_month, used_this_month, per_month, granted
        ) AS p;
        used_this_month := last;
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION take_rate_limit_permits(
    uuid, uuid, int, bigint, bigint, bigint, bigint, timestamptz, timestamptz, timestamptz
) FROM public;

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

--! views/extra_quota
-- What each customer may use beyond the plan now, with any key. What was granted to one key is left out: it is that
-- key's alone.
CREATE VIEW extra_quota AS
SELECT
    g.user_id,
    least(sum(g.extra_requests), 1000000000000000)::bigint AS extra_requests,
    least(sum(g.extra_per_minute), 1000000000)::int AS extra_per_minute
FROM entitlement_grants AS g
WHERE g.api_key_id IS NULL AND g.starts_at <= statement_timestamp() AND g.ends_at > statement_timestamp()
GROUP BY g.user_id;

--! views/current_limits
-- What holds for each customer with a live subscription now: its entitlements, with the extra quota that is in force
-- for all of the customer's keys. A NULL monthly_request_limit is unlimited.
CREATE VIEW current_limits AS
SELECT
    e.subscription_id,
    e.user_id,
    e.tier,
    e.is_entitled,
    e.monthly_request_limit + least(
        coalesce(
            (
                SELECT x.extra_requests
                FROM extra_quota AS x
                WHERE x.user_id = e.user_id
            ), 0
        ), 9223372036854775807 - e.monthly_request_limit
    ) AS monthly_request_limit,
    e.rate_limit_per_minute + least(
        coalesce(
            (
                SELECT x.extra_per_minute
                FROM extra_quota AS x
                WHERE x.user_id = e.user_id
            ), 0
        ), 2147483647 - e.rate_limit_per_minute
    ) AS rate_limit_per_minute
FROM entitlements AS e;

--! views/monthly_usage_summary
-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued. Times beyond what a bigint
-- holds stop at its end. Of the failed requests throttled_requests were answered with 429, server_errors with 5xx.
CREATE OR REPLACE VIEW monthly_usage_summary AS
SELECT
    counted.user_id,
    counted.month,
    sum(counted.total_requests)::bigint AS total_requests,
    sum(counted.successful_requests)::bigint AS successful_requests,
    sum(counted.failed_requests)::bigint AS failed_requests,
    least(sum(counted.total_response_time_ms), 9223372036854775807)::bigint AS total_response_time_ms,
    max(counted.max_response_time_ms) AS max_response_time_ms,
    max(counted.last_request_at) AS last_request_at,
    sum(counted.throttled_requests)::bigint AS throttled_requests,
    sum(counted.server_errors)::bigint AS server_errors
FROM (
    SELECT
        t.user_id,
        t.month,
        t.total_requests,
        t.successful_requests,
        t.failed_requests,
        t.total_response_time_ms,
        t.max_response_time_ms,
        t.last_request_at,
        t.throttled_requests,
        t.server_errors
    FROM monthly_usage_totals AS t
    UNION ALL
    SELECT
        d.user_id,
        d.month,
        d.total_requests,
        d.total_requests - d.failed_requests AS successful_requests,
        d.failed_requests,
        d.total_response_time_ms,
        d.max_response_time_ms,
        d.last_request_at,
        d.throttled_requests,
        d.server_errors
    FROM api_usage_deltas AS d
) AS counted
GROUP BY counted.user_id, counted.month;

--! views/quota_usage
-- What counts against each customer's limit of a calendar month (UTC): the requests that quota_rule counts, and with
-- them what was corrected. After a change of the rule that may be less than nothing, which is nothing.
CREATE VIEW quota_usage AS
SELECT
    c.user_id,
    c.month,
    sum(c.counted)::bigint AS counted_requests,
    sum(c.corrected)::bigint AS corrected_requests,
    greatest(sum(c.counted) + sum(c.corrected), 0)::bigint AS used_requests
FROM (
    SELECT
        m.user_id,
        m.month,
        m.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
            WHEN 'served' THEN m.throttled_requests + m.server_errors
            ELSE 0
        END AS counted,
        0 AS corrected
    FROM monthly_usage_summary AS m
    UNION ALL
    SELECT
        u.user_id,
        u.month,
        0 AS counted,
        u.requests AS corrected
    FROM usage_corrections AS u
) AS c
GROUP BY c.user_id, c.month;

--! views/miscounted_subscriptions
-- The live subscriptions whose usage_count is not what counts against their user's limit of this calendar month (UTC),
-- queued requests included, as far as the column counts; and what it should be.
CREATE OR REPLACE VIEW miscounted_subscriptions AS
SELECT
    s.id,
    least(coalesce(m.used_requests, 0), 1000000000000000) AS requests
FROM live_subscriptions AS s
LEFT JOIN quota_usage AS m
    ON s.user_id = m.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE s.usage_count <> least(coalesce(m.used_requests, 0), 1000000000000000);

--! indexes/audit_log_former
-- What a customer had once and has no more: whose it was is kept by these rows alone.
CREATE INDEX audit_log_former_user ON audit_log ((old_values ->> 'user_id'), table_name)
WHERE (old_values ->> 'user_id') IS NOT NULL;
CREATE INDEX audit_log_former_payment ON audit_log ((old_values ->> 'payment_id'), table_name)
WHERE (old_values ->> 'payment_id') IS NOT NULL;

--! indexes/users_search
-- Finding a customer by parts of an address or a name, however they are accented, and by what is nearly written so.
CREATE INDEX users_search ON users USING gin (search_form(email, name) gin_trgm_ops);

--! triggers/api_keys
-- Triggers fire in the order of their names: the guard comes before set_updated_at compares the row.
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, last_used_at ON api_keys
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_api_key_counters();

CREATE TRIGGER keep_revoked BEFORE UPDATE OF revoked_at ON api_keys
FOR EACH ROW WHEN (old.revoked_at IS NOT NULL AND new.revoked_at IS DISTINCT FROM old.revoked_at)
EXECUTE FUNCTION keep_api_key_revoked();

-- Being used and being checked is no change of the key: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON api_keys
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.last_used_at IS NOT DISTINCT FROM new.last_used_at
    AND old.key_fast_hash IS NOT DISTINCT FROM new.key_fast_hash
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the fold moves for every key that was used: it must not pay for an audit; and but
-- the fast hash, which is derived.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, name, environment, key_prefix, key_hash, expires_at, replaced_at, revoked_at, revoked_reason, created_at
ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'last_used_at', 'key_fast_hash');

--! triggers/djstripe_bankaccount
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_bankaccount
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_card
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_card
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_charge
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_charge
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_customer
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_customer
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_dispute
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_dispute
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_invoice
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_invoice
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_invoiceitem
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_invoiceitem
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_paymentintent
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_paymentintent
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_paymentmethod
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_paymentmethod
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_refund
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_refund
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_session
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_session
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_setupintent
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_setupintent
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_source
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_source
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_subscription
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_subscription
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/djstripe_taxid
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_taxid
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');

--! triggers/entitlement_grants
CREATE TRIGGER check_key BEFORE INSERT OR UPDATE OF user_id, api_key_id ON entitlement_grants
FOR EACH ROW WHEN (new.api_key_id IS NOT NULL)
EXECUTE FUNCTION refuse_key_of_another();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON entitlement_grants
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/open_invoices
CREATE TRIGGER erase_links BEFORE INSERT OR UPDATE OF user_id, hosted_invoice_url ON open_invoices
FOR EACH ROW WHEN (new.hosted_invoice_url IS NOT NULL) EXECUTE FUNCTION erase_document_links('hosted_invoice_url');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/payment_cases
CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_cases
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/payment_history
CREATE TRIGGER erase_links BEFORE INSERT OR UPDATE OF user_id, invoice_url, receipt_url ON payment_history
FOR EACH ROW WHEN (new.invoice_url IS NOT NULL OR new.receipt_url IS NOT NULL)
EXECUTE FUNCTION erase_document_links('invoice_url', 'receipt_url');

CREATE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

-- Whose it was before, or what it was, is said nowhere else.
CREATE TRIGGER audit_moved AFTER UPDATE OF user_id ON payment_history
FOR EACH ROW WHEN (old.user_id IS DISTINCT FROM new.user_id) EXECUTE FUNCTION audit_row_change('id');

CREATE TRIGGER audit_deleted AFTER DELETE ON payment_history
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/payment_movements
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION refuse_payment_movement_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON payment_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_movement_change();

CREATE TRIGGER sum_up AFTER INSERT ON payment_movements
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION sum_payment_movements();

-- With its payment.
CREATE TRIGGER audit_deleted AFTER DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/stripe_webhook_events
CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE OF payload ON stripe_webhook_events
FOR EACH ROW WHEN (new.payload <> '{}') EXECUTE FUNCTION erase_arriving('payload');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_webhook_events
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

--! triggers/usage_corrections
CREATE TRIGGER check_key BEFORE INSERT ON usage_corrections
FOR EACH ROW WHEN (new.api_key_id IS NOT NULL)
EXECUTE FUNCTION refuse_key_of_another();

CREATE TRIGGER number_correction BEFORE INSERT ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION number_usage_correction();

CREATE TRIGGER count_correction AFTER INSERT ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION count_usage_correction();

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION refuse_usage_correction_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON usage_corrections
FOR EACH STATEMENT EXECUTE FUNCTION refuse_usage_correction_change();

CREATE TRIGGER audit AFTER INSERT OR DELETE ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/users
CREATE TRIGGER keep_erased BEFORE INSERT OR UPDATE ON users
FOR EACH ROW WHEN (new.erased_at IS NOT NULL) EXECUTE FUNCTION keep_erased();

CREATE TRIGGER refuse_revival BEFORE UPDATE OF erased_at ON users
FOR EACH ROW WHEN (old.erased_at IS NOT NULL AND new.erased_at IS DISTINCT FROM old.erased_at)
EXECUTE FUNCTION refuse_unerasing();

CREATE TRIGGER keep_suspension BEFORE INSERT OR UPDATE OF status ON users
FOR EACH ROW EXECUTE FUNCTION keep_suspension();

CREATE TRIGGER link_primary_customer AFTER INSERT ON users
FOR EACH ROW WHEN (new.stripe_customer_id IS NOT NULL) EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER relink_primary_customer AFTER UPDATE OF stripe_customer_id ON users
FOR EACH ROW WHEN (old.stripe_customer_id IS DISTINCT FROM new.stripe_customer_id)
EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_free_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'suspended_at');

--! indexes/users_trigrams
DROP INDEX users_trigrams;
