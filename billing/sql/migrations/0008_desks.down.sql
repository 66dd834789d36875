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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('charged_cards', 'extra_quota', 'current_limits', 'monthly_usage_summary', 'quota_usage', 'miscounted_subscriptions') AND a.grantee <> c.relowner;

DROP VIEW miscounted_subscriptions;
DROP VIEW quota_usage;
DROP VIEW monthly_usage_summary;
DROP VIEW current_limits;
DROP VIEW extra_quota;
DROP VIEW charged_cards;

DROP TRIGGER audit ON api_keys;
DROP TRIGGER set_updated_at ON api_keys;
DROP TRIGGER keep_revoked ON api_keys;
DROP TRIGGER guard_counters ON api_keys;

DROP TRIGGER audit_deleted ON payment_history;
DROP TRIGGER audit_moved ON payment_history;
DROP TRIGGER book_changed_totals ON payment_history;
DROP TRIGGER book_loaded_totals ON payment_history;
DROP TRIGGER set_updated_at ON payment_history;
DROP TRIGGER name_customer ON payment_history;
DROP TRIGGER erase_links ON payment_history;

DROP TRIGGER set_updated_at ON stripe_webhook_events;
DROP TRIGGER erase_arriving ON stripe_webhook_events;

DROP TRIGGER audit ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER set_updated_at ON users;
DROP TRIGGER relink_primary_customer ON users;
DROP TRIGGER link_primary_customer ON users;
DROP TRIGGER keep_suspension ON users;
DROP TRIGGER refuse_revival ON users;
DROP TRIGGER keep_erased ON users;

DROP TRIGGER set_updated_at ON open_invoices;
DROP TRIGGER erase_links ON open_invoices;

DROP TRIGGER audit_deleted ON payment_movements;
DROP TRIGGER sum_up ON payment_movements;
DROP TRIGGER refuse_truncate ON payment_movements;
DROP TRIGGER refuse_change ON payment_movements;

ALTER TABLE api_usage_deltas DROP CONSTRAINT api_usage_deltas_failures_add_up;
ALTER TABLE api_usage_deltas DROP COLUMN throttled_requests;
ALTER TABLE api_usage_deltas DROP COLUMN server_errors;
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
    CONSTRAINT api_usage_deltas_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT api_usage_deltas_counted CHECK (total_requests > 0 AND failed_requests BETWEEN 0 AND total_requests),
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

ALTER TABLE monthly_usage_totals DROP CONSTRAINT monthly_usage_totals_failures_add_up;
ALTER TABLE monthly_usage_totals DROP COLUMN throttled_requests;
ALTER TABLE monthly_usage_totals DROP COLUMN server_errors;
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
    CONSTRAINT monthly_usage_totals_pkey PRIMARY KEY (user_id, month),
    CONSTRAINT monthly_usage_totals_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT monthly_usage_totals_adds_up CHECK (total_requests = successful_requests + failed_requests)
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX monthly_usage_totals_month ON monthly_usage_totals (month, total_requests DESC);
*/

ALTER TABLE rate_limits DROP COLUMN refused_count;
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

DROP INDEX users_erased;
ALTER TABLE users DROP CONSTRAINT users_legal_hold_given;
ALTER TABLE users DROP CONSTRAINT users_held_is_not_erased;
ALTER TABLE users DROP CONSTRAINT users_erased_is_nobody;
ALTER TABLE users DROP CONSTRAINT users_times_plausible;
ALTER TABLE users DROP COLUMN legal_hold;
ALTER TABLE users DROP COLUMN erased_at;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(suspended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(suspended_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it. stripe_customer_id is the primary one of stripe_customers, and
-- suspended_at outlasts a deletion.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    suspended_at timestamptz,
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
    CONSTRAINT users_times_plausible CHECK (
        least(suspended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(suspended_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%'). A name may be longer than an index row can be.
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);

-- The back office's sorts and filters.
CREATE INDEX users_status ON users (status, created_at DESC);
*/

ALTER TABLE api_keys DROP CONSTRAINT api_keys_replaced_ends;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_times_plausible;
ALTER TABLE api_keys DROP COLUMN replaced_at;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_times_plausible CHECK ( least(last_used_at, expires_at, revoked_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(last_used_at, expires_at, revoked_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    CONSTRAINT api_keys_environment_known CHECK (environment IN ('development', 'staging', 'production')),
    CONSTRAINT api_keys_prefix_short CHECK (length(key_prefix) BETWEEN 1 AND 32),
    CONSTRAINT api_keys_hash_is_no_key CHECK (key_hash <> '' AND key_hash NOT LIKE 'glyph\_sk\_%'),
    CONSTRAINT api_keys_fast_hash_sha256 CHECK (key_fast_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT api_keys_usage_not_negative CHECK (usage_count >= 0),
    -- Far from what a bigint holds: counting stops there, and never fails.
    CONSTRAINT api_keys_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT api_keys_reason_needs_revocation CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL),
    CONSTRAINT api_keys_texts_bounded CHECK (
        octet_length(name) <= 800 AND octet_length(key_hash) <= 255 AND octet_length(revoked_reason) <= 8192
    ),
    CONSTRAINT api_keys_times_plausible CHECK (
        least(last_used_at, expires_at, revoked_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(last_used_at, expires_at, revoked_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
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

DROP INDEX payment_history_first_paid;
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

-- Drops the partitions of api_usage whose every row is more than `days` days old, up to 24 at a call, and deletes rows
-- as old from the default partition; returns how many partitions. Totals, counters and known request ids outlive them.
CREATE OR REPLACE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_old_api_usage', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    -- As many as if they had partitions: whole months.
    DELETE FROM api_usage_default AS u WHERE u.created_at < date_trunc('month', cutoff, 'UTC');
    RETURN cardinality(drop_partitions_before('api_usage'::regclass, cutoff));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;

-- Queues what a statement added to api_usage, and never waits for another writer: no shared row is touched until
-- roll_up_usage() folds the queue. monthly_usage_summary adds the queue to the totals, so it is exact at once.
--
-- This runs for every insert, so two things are left out. Up to a hundred rows are queued one by one, as grouping them
-- would cost more than it saves; only a larger statement is grouped. And where every name is qualified, operators and
-- types too, it needs no SET search_path, which alone costs a tenth of an insert's throughput.
CREATE OR REPLACE FUNCTION count_api_usage() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM new_requests OFFSET 100) THEN
        INSERT INTO public.api_usage_deltas (
            user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
            max_response_time_ms
        )
        SELECT
            n.user_id,
            n.api_key_id,
            n.created_at,
            n.response_time_ms,
            pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date,
            1,
            (n.status_code OPERATOR(pg_catalog.>=) 400)::int,
            n.response_time_ms
        FROM new_requests AS n;
        RETURN NULL;
    END IF;

    INSERT INTO public.api_usage_deltas (
        user_id, api_key_id, last_request_at, total_response_time_ms, month, total_requests, failed_requests,
        max_response_time_ms
    )
    SELECT
        n.user_id,
        n.api_key_id,
        pg_catalog.max(n.created_at),
        pg_catalog.sum(n.response_time_ms),
        pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date AS month,
        pg_catalog.count(*),
        pg_catalog.count(*) FILTER (WHERE n.status_code OPERATOR(pg_catalog.>=) 400),
        pg_catalog.max(n.response_time_ms)
    FROM new_requests AS n
    GROUP BY n.user_id, n.api_key_id, pg_catalog.date_trunc('month', n.created_at AT TIME ZONE 'UTC')::pg_catalog.date;
    RETURN NULL;
END
$$;

-- Counts up to n requests of a key at once, for a server that checks thousands a second: it hands them out by itself
-- until expires_at, at most five seconds and never beyond the minute in which they were counted. So no window is used
-- beyond its limit, a key that is revoked meanwhile is served for five seconds at most, and a permit that is not used
-- stays counted. Returns one row: how many were granted, as many as the tighter window has room for, until when (NULL
-- when none was), and the reason as check_rate_limit() gives it.
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
        expires_at := least(clock_timestamp() + interval '5 seconds', taken.minute_end);
    END IF;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION lease_rate_limit(uuid, int) FROM public;

DROP FUNCTION recorded_requests;

-- The requests of a user that were recorded in the month that begins then, what is not folded yet included; for
-- take_rate_limit(), which asks only once the month has room for less than a tenth of its limit or for less than 1,000:
-- the queue has no index, as that would cost every insert, and reading it costs milliseconds. Until then a request that
-- nobody checked counts when it is folded, within a minute. Under a limit of 1,000 the rows themselves are few, have an
-- index, and are counted up to that limit.
CREATE FUNCTION recorded_requests(owner uuid, month_start timestamptz, monthly_limit bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    recorded bigint;
BEGIN
    IF monthly_limit > 1000 THEN
        SELECT m.total_requests INTO recorded
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    ELSE
        SELECT count(*) INTO recorded
        FROM (
            SELECT
            FROM api_usage AS a
            WHERE a.user_id = owner
                AND a.created_at >= month_start
                AND a.created_at < (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
            LIMIT monthly_limit
        ) AS counted;
    END IF;
    RETURN coalesce(recorded, 0);
END
$$;

REVOKE EXECUTE ON FUNCTION recorded_requests(uuid, timestamptz, bigint) FROM public;

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
            max(q.last_request_at) AS last_request_at
        FROM queued AS q
        GROUP BY q.user_id, q.api_key_id, q.month
    ),
    totals AS (
        INSERT INTO monthly_usage_totals AS t (
            user_id, month, total_requests, successful_requests, failed_requests,
            total_response_time_ms, max_response_time_ms, last_request_at
        )
        SELECT
            c.user_id,
            c.month,
            sum(c.total_requests),
            sum(c.total_requests - c.failed_requests),
            sum(c.failed_requests),
            least(sum(c.total_response_time_ms), 9223372036854775807)::bigint,
            max(c.max_response_time_ms),
            max(c.last_request_at)
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
            last_request_at = greatest(t.last_request_at, excluded.last_request_at)
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

DROP FUNCTION take_rate_limit;

-- Counts up to `wanted` requests of a key, as many as the key's minute and its user's month have room for, and says
-- how many those were; for check_rate_limit() and lease_rate_limit() only, which say what the reasons mean. It runs
-- for every request, so it pins no search_path: its two callers do, and nobody else may call it.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass a limit:
-- call it on its own. A month has used what was checked or what was recorded, whichever is more; see
-- recorded_requests() for when it asks.
CREATE FUNCTION take_rate_limit(
    key uuid,
    wanted int,
    OUT granted int,
    OUT remaining bigint,
    OUT reset_at timestamptz,
    OUT reason text,
    OUT minute_end timestamptz
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    moment CONSTANT timestamptz := clock_timestamp();
    minute_start CONSTANT timestamptz := date_trunc('minute', moment);
    month_start CONSTANT timestamptz := date_trunc('month', moment, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    owner uuid;
    per_minute bigint;
    per_month bigint;
    used_this_minute bigint;
    used_this_month bigint;
    recorded bigint;
    late bigint := 0;
    -- Counted by take_rate_limit_permits(), if ever a caller in this database was.
    has_permits CONSTANT boolean := pg_sequence_last_value('rate_limit_permits_seq') IS NOT NULL;
    permits_this_minute bigint := 0;
    permits_this_month bigint := 0;
BEGIN
    granted := 0;
    remaining := 0;
    minute_end := minute_start + interval '1 minute';
    SELECT k.user_id, e.rate_limit_per_minute, e.monthly_request_limit, coalesce(t.total_requests, 0)
    INTO owner, per_minute, per_month, recorded
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN entitlements AS e ON e.user_id = k.user_id
    LEFT JOIN monthly_usage_totals AS t ON t.user_id = k.user_id AND t.month = (month_start AT TIME ZONE 'UTC')::date
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

    PERFORM pg_advisory_xact_lock(hashtextextended(format('check_rate_limit %s', owner), 0));
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        SELECT t.granted, t.used_this_minute, t.used_this_month INTO granted, used_this_minute, used_this_month
        FROM take_rate_limit_permits(
            key, owner, wanted, per_minute, per_month, recorded, minute_start, month_start, month_end
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
            SET request_count = greatest(r.request_count, recorded - permits_this_month) + wanted
            WHERE r.user_id = owner AND r.window_start = month_start
            RETURNING r.request_count + permits_this_month INTO used_this_month;
            IF NOT FOUND THEN
                used_this_month := greatest(recorded, permits_this_month) + wanted;
                INSERT INTO rate_limits (api_key_id, window_start, window_seconds, request_count, expires_at, user_id)
                VALUES (key, month_start, month_seconds, used_this_month - permits_this_month, month_end, owner)
                -- The key had another owner, who goes on from what was recorded.
                ON CONFLICT (api_key_id, window_seconds, window_start)
                DO UPDATE SET request_count = excluded.request_count, user_id = excluded.user_id;
            END IF;
            IF per_month - used_this_month < greatest(1000, per_month / 10) THEN
                late := greatest(recorded_requests(owner, month_start, per_month) - (used_this_month - wanted), 0);
                used_this_month := used_this_month + late;
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
            UPDATE rate_limits AS r SET request_count = r.request_count - (wanted - granted) + late
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

DROP FUNCTION take_rate_limit_permits;

-- How take_rate_limit() counts under repeatable read and serializable; the table rate_limit_permits says why not in
-- rate_limits. What rate_limits has counted is added; where that has changed since the transaction's snapshot, which
-- happens only while callers of one user count in both ways at once, the call fails to serialize. Returns what was
-- granted, at most 1,000, and what both windows have used then.
CREATE FUNCTION take_rate_limit_permits(
    key uuid,
    owner uuid,
    wanted int,
    per_minute bigint,
    per_month bigint,
    recorded bigint,
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
            used_this_month := greatest(used_this_month, recorded_requests(owner, month_start, per_month));
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
    uuid, uuid, int, bigint, bigint, bigint, timestamptz, timestamptz, timestamptz
) FROM public;

-- Finding a customer by any part of an address or a name, as Django writes it: UPPER(column) LIKE UPPER('%abc%').
CREATE INDEX users_trigrams ON users USING gin (upper(email) gin_trgm_ops, upper(name) gin_trgm_ops);

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
id, user_id, name, environment, key_prefix, key_hash, expires_at, revoked_at, revoked_reason, created_at
ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'last_used_at', 'key_fast_hash');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

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

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION refuse_payment_movement_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON payment_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_movement_change();

CREATE TRIGGER sum_up AFTER INSERT ON payment_movements
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION sum_payment_movements();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_webhook_events
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

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

-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued. Times beyond what a bigint
-- holds stop at its end.
CREATE VIEW monthly_usage_summary AS
SELECT
    counted.user_id,
    counted.month,
    sum(counted.total_requests)::bigint AS total_requests,
    sum(counted.successful_requests)::bigint AS successful_requests,
    sum(counted.failed_requests)::bigint AS failed_requests,
    least(sum(counted.total_response_time_ms), 9223372036854775807)::bigint AS total_response_time_ms,
    max(counted.max_response_time_ms) AS max_response_time_ms,
    max(counted.last_request_at) AS last_request_at
FROM (
    SELECT
        t.user_id,
        t.month,
        t.total_requests,
        t.successful_requests,
        t.failed_requests,
        t.total_response_time_ms,
        t.max_response_time_ms,
        t.last_request_at
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
        d.last_request_at
    FROM api_usage_deltas AS d
) AS counted
GROUP BY counted.user_id, counted.month;

-- The live subscriptions whose usage_count is not their user's requests of this calendar month (UTC), queued ones
-- included, as far as the column counts; and what it should be.
CREATE VIEW miscounted_subscriptions AS
SELECT
    s.id,
    least(coalesce(m.total_requests, 0), 1000000000000000) AS requests
FROM live_subscriptions AS s
LEFT JOIN monthly_usage_summary AS m
    ON s.user_id = m.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE s.usage_count <> least(coalesce(m.total_requests, 0), 1000000000000000);

DROP TRIGGER audit ON usage_corrections;
DROP TRIGGER refuse_truncate ON usage_corrections;
DROP TRIGGER refuse_change ON usage_corrections;
DROP TRIGGER count_correction ON usage_corrections;
DROP TRIGGER number_correction ON usage_corrections;
DROP TRIGGER check_key ON usage_corrections;

DROP TRIGGER set_updated_at ON payment_cases;

DROP TRIGGER audit ON entitlement_grants;
DROP TRIGGER check_key ON entitlement_grants;

DROP TRIGGER erase_arriving ON djstripe_taxid;

DROP TRIGGER erase_arriving ON djstripe_subscription;

DROP TRIGGER erase_arriving ON djstripe_source;

DROP TRIGGER erase_arriving ON djstripe_setupintent;

DROP TRIGGER erase_arriving ON djstripe_session;

DROP TRIGGER erase_arriving ON djstripe_refund;

DROP TRIGGER erase_arriving ON djstripe_paymentmethod;

DROP TRIGGER erase_arriving ON djstripe_paymentintent;

DROP TRIGGER erase_arriving ON djstripe_invoiceitem;

DROP TRIGGER erase_arriving ON djstripe_invoice;

DROP TRIGGER erase_arriving ON djstripe_dispute;

DROP TRIGGER erase_arriving ON djstripe_customer;

DROP TRIGGER erase_arriving ON djstripe_charge;

DROP TRIGGER erase_arriving ON djstripe_card;

DROP TRIGGER erase_arriving ON djstripe_bankaccount;

DROP INDEX users_search;

DROP INDEX audit_log_former_payment;
DROP INDEX audit_log_former_user;

-- Gone.

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION search_form;

DROP FUNCTION requests_as_of;

DROP FUNCTION personal_values;

DROP FUNCTION personal_terms;

DROP FUNCTION personal_pattern;

DROP FUNCTION payments_as_of;

DROP FUNCTION nameless;

DROP FUNCTION is_of_erased;

DROP FUNCTION events_of_customer;

DROP FUNCTION erased_text;

DROP FUNCTION erased_stripe;

DROP FUNCTION erased_json;

DROP FUNCTION erased_audit_rows;

DROP FUNCTION erase_usage_of;

DROP FUNCTION erase_audit_of;

DROP FUNCTION decline_words;

DROP FUNCTION customer_as_of;

DROP FUNCTION correct_usage;

DROP TABLE usage_corrections;

DROP TABLE upcoming_invoices;

DROP TABLE quota_rule;

DROP TABLE payment_reminders;

DROP TABLE payment_cases;

DROP TABLE entitlement_grants;

DROP FUNCTION refuse_usage_correction_change;

DROP FUNCTION refuse_unerasing;

DROP FUNCTION refuse_key_of_another;

DROP FUNCTION number_usage_correction;

DROP FUNCTION keep_erased;

DROP FUNCTION erase_document_links;

DROP FUNCTION erase_arriving;

DROP FUNCTION count_usage_correction;

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
