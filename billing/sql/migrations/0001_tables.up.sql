-- What each tier is sold as. Limits are per calendar month (UTC) and per minute; a NULL limit is unlimited,
-- a NULL price is agreed with each customer.
CREATE TABLE plans (
    tier text PRIMARY KEY CONSTRAINT plans_tier_known CHECK (tier IN ('free', 'starter', 'professional', 'enterprise')),
    name text NOT NULL CONSTRAINT plans_name_given CHECK (name <> ''),
    monthly_request_limit bigint CONSTRAINT plans_monthly_request_limit_positive CHECK (monthly_request_limit > 0),
    rate_limit_per_minute int NOT NULL CONSTRAINT plans_rate_limit_positive CHECK (rate_limit_per_minute > 0),
    price_cents int CONSTRAINT plans_price_not_negative CHECK (price_cents >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO plans (tier, name, monthly_request_limit, rate_limit_per_minute, price_cents)
VALUES
    ('free', 'Free', 100, 10, 0),
    ('starter', 'Starter', 10000, 60, 2900),
    ('professional', 'Professional', 100000, 300, 9900),
    ('enterprise', 'Enterprise', NULL, 1000, NULL);
-- Which Stripe prices sell a tier. Support edits this; it wins over a price's metadata and lookup key.
CREATE TABLE plan_prices (
    stripe_price_id text PRIMARY KEY CONSTRAINT plan_prices_id_given CHECK (stripe_price_id <> ''),
    tier text NOT NULL CONSTRAINT plan_prices_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX plan_prices_tier ON plan_prices (tier);
-- A customer. The address is unique whatever its case; a deleted customer keeps the row, as payments refer to it.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text NOT NULL,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_status_known CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT users_email_plausible CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    -- An empty string is not "no id": two of them would collide on the unique key.
    CONSTRAINT users_ids_given CHECK (cognito_user_id <> '' AND stripe_customer_id <> '')
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%').
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(name) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);
-- What a customer may use and pays, past and present. One live row per user; the free tier is a row too.
-- price_cents is the monthly price after recurring discounts; a NULL monthly_request_limit is unlimited.
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT subscriptions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    tier text NOT NULL DEFAULT 'free' CONSTRAINT subscriptions_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    status text NOT NULL DEFAULT 'active',
    stripe_subscription_id text CONSTRAINT subscriptions_stripe_subscription_id_key UNIQUE,
    stripe_price_id text,
    quantity int NOT NULL DEFAULT 1,
    price_cents bigint NOT NULL DEFAULT 0,
    currency text NOT NULL DEFAULT 'usd',
    "interval" text NOT NULL DEFAULT 'month',
    current_period_start timestamptz,
    current_period_end timestamptz,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    canceled_at timestamptz,
    trial_end timestamptz,
    is_duplicate boolean NOT NULL DEFAULT false,
    monthly_request_limit bigint,
    usage_count bigint NOT NULL DEFAULT 0,
    usage_synced_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriptions_status_known CHECK (status IN (
        'incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled'
    )),
    CONSTRAINT subscriptions_stripe_subscription_id_given CHECK (stripe_subscription_id <> ''),
    CONSTRAINT subscriptions_quantity_not_negative CHECK (quantity >= 0),
    CONSTRAINT subscriptions_price_not_negative CHECK (price_cents >= 0),
    CONSTRAINT subscriptions_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT subscriptions_interval_known CHECK ("interval" IN ('day', 'week', 'month', 'year')),
    CONSTRAINT subscriptions_period_ordered CHECK (current_period_start <= current_period_end),
    CONSTRAINT subscriptions_limit_not_negative CHECK (monthly_request_limit >= 0),
    CONSTRAINT subscriptions_usage_not_negative CHECK (usage_count >= 0),
    CONSTRAINT subscriptions_canceled_is_dated CHECK (status <> 'canceled' OR canceled_at IS NOT NULL)
);

-- Stripe allows a customer two subscriptions at once; the lower one is kept as a marked duplicate.
CREATE UNIQUE INDEX subscriptions_one_live_per_user ON subscriptions (user_id)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;

CREATE INDEX subscriptions_user_id ON subscriptions (user_id, created_at);
CREATE INDEX subscriptions_tier_status ON subscriptions (tier, status) INCLUDE (price_cents, currency);
CREATE INDEX subscriptions_due ON subscriptions (current_period_end) WHERE status IN ('trialing', 'active');
CREATE INDEX subscriptions_duplicates ON subscriptions (user_id) WHERE is_duplicate;
-- A key's hash, never the key: the prefix finds the row, bcrypt checks the rest.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL DEFAULT '',
    environment text NOT NULL DEFAULT 'development',
    key_prefix text NOT NULL,
    key_hash text NOT NULL,
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
    CONSTRAINT api_keys_usage_not_negative CHECK (usage_count >= 0),
    CONSTRAINT api_keys_reason_needs_revocation CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL)
)
-- Half-empty pages keep the counters' updates on the same page, without index writes.
WITH (fillfactor = 70);

CREATE INDEX api_keys_prefix ON api_keys (key_prefix text_pattern_ops);
CREATE INDEX api_keys_user_id ON api_keys (user_id, created_at);
CREATE INDEX api_keys_usable ON api_keys (user_id) INCLUDE (expires_at) WHERE revoked_at IS NULL;
-- One row a request, in monthly partitions (UTC) that are dropped whole. No foreign keys and few indexes: this is the
-- hot path, and a dropped month must not touch other tables. The sequence is explicit because a partition of
-- PostgreSQL 15 does not inherit an identity column, and rows may be written straight into a partition.
CREATE SEQUENCE api_usage_id_seq AS bigint;

CREATE TABLE api_usage (
    id bigint NOT NULL DEFAULT nextval('api_usage_id_seq'),
    user_id uuid NOT NULL,
    api_key_id uuid,
    endpoint text NOT NULL,
    method text NOT NULL,
    status_code int NOT NULL,
    response_time_ms int NOT NULL,
    request_bytes int,
    response_bytes int,
    ip_address inet,
    error_message text,
    request_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_usage_pkey PRIMARY KEY (id, created_at),
    CONSTRAINT api_usage_status_code_http CHECK (status_code BETWEEN 100 AND 599),
    CONSTRAINT api_usage_response_time_not_negative CHECK (response_time_ms >= 0),
    CONSTRAINT api_usage_bytes_not_negative CHECK (request_bytes >= 0 AND response_bytes >= 0),
    -- Milliseconds taken for seconds ask for partitions of far centuries; infinity for one that cannot be made.
    CONSTRAINT api_usage_created_at_plausible
    CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00')
) PARTITION BY RANGE (created_at);

ALTER SEQUENCE api_usage_id_seq OWNED BY api_usage.id;

CREATE INDEX api_usage_user_id_created_at ON api_usage (user_id, created_at);
CREATE INDEX api_usage_api_key_id_created_at ON api_usage (api_key_id, created_at);
CREATE INDEX api_usage_created_at_brin ON api_usage USING brin (created_at)
WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX api_usage_failures ON api_usage (created_at) INCLUDE (user_id) WHERE status_code >= 400;

-- A row of a month without a partition lands here and is moved when the partition is made.
CREATE TABLE api_usage_default PARTITION OF api_usage DEFAULT
WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
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
    CONSTRAINT monthly_usage_totals_month_first_day CHECK (extract(day FROM month) = 1),
    CONSTRAINT monthly_usage_totals_adds_up CHECK (total_requests = successful_requests + failed_requests)
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX monthly_usage_totals_month ON monthly_usage_totals (month, total_requests DESC);
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
    max_response_time_ms int NOT NULL
)
WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 20000
);
-- Request ids that record_api_usage() has counted. Outside api_usage, so that an id stays known when its month is dropped.
CREATE TABLE api_usage_request_ids (
    user_id uuid NOT NULL,
    request_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_usage_request_ids_pkey PRIMARY KEY (user_id, request_id),
    CONSTRAINT api_usage_request_ids_length CHECK (length(request_id) BETWEEN 1 AND 200)
)
WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX api_usage_request_ids_recorded_at ON api_usage_request_ids USING brin (recorded_at)
WITH (autosummarize = on);
-- One row a charge, failed ones included. Financial records: a user with payments cannot be deleted.
CREATE TABLE payment_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT payment_history_user_id_fkey REFERENCES users (id) ON DELETE RESTRICT,
    stripe_invoice_id text,
    stripe_payment_intent_id text,
    stripe_charge_id text CONSTRAINT payment_history_stripe_charge_id_key UNIQUE,
    amount_cents bigint NOT NULL,
    currency text NOT NULL DEFAULT 'usd',
    status text NOT NULL DEFAULT 'pending',
    refunded_cents bigint NOT NULL DEFAULT 0,
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
    CONSTRAINT payment_history_currency_iso CHECK (currency ~ '^[a-z]{3}$')
);

CREATE INDEX payment_history_user_id ON payment_history (user_id, created_at DESC);
CREATE INDEX payment_history_stripe_invoice_id ON payment_history (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id)
WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX payment_history_paid_at ON payment_history (paid_at)
INCLUDE (amount_cents, refunded_cents, currency, status) WHERE paid_at IS NOT NULL;
CREATE INDEX payment_history_failures ON payment_history (created_at) WHERE status IN ('failed', 'disputed');
-- The inbox: every verified event, its payload and where its processing stands. An event that was claimed by id before
-- its payload arrived is a stub of type 'unknown'.
CREATE TABLE stripe_webhook_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_event_id text NOT NULL CONSTRAINT stripe_webhook_events_stripe_event_id_key UNIQUE,
    event_type text NOT NULL DEFAULT 'unknown',
    api_version text,
    livemode boolean NOT NULL DEFAULT false,
    payload jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'pending',
    attempts int NOT NULL DEFAULT 0,
    last_error text,
    next_retry_at timestamptz,
    received_at timestamptz NOT NULL DEFAULT now(),
    processing_started_at timestamptz,
    processed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stripe_webhook_events_id_given CHECK (stripe_event_id <> ''),
    CONSTRAINT stripe_webhook_events_status_known CHECK (status IN (
        'pending', 'processing', 'processed', 'failed', 'ignored', 'dead'
    )),
    CONSTRAINT stripe_webhook_events_attempts_not_negative CHECK (attempts >= 0),
    CONSTRAINT stripe_webhook_events_payload_object CHECK (jsonb_typeof(payload) = 'object')
)
WITH (fillfactor = 80);

CREATE INDEX stripe_webhook_events_received_at ON stripe_webhook_events (received_at DESC, id);
CREATE INDEX stripe_webhook_events_type ON stripe_webhook_events (event_type, received_at DESC);
CREATE INDEX stripe_webhook_events_due ON stripe_webhook_events (next_retry_at, received_at)
WHERE status IN ('pending', 'failed');
CREATE INDEX stripe_webhook_events_unfinished ON stripe_webhook_events (status, received_at)
INCLUDE (stripe_event_id, event_type, attempts) WHERE status IN ('pending', 'processing', 'failed', 'dead');
CREATE INDEX stripe_webhook_events_finished ON stripe_webhook_events ((coalesce(processed_at, received_at)))
WHERE status IN ('processed', 'ignored');
-- "Every event of this customer": payload @> '{"data": {"object": {"customer": "cus_…"}}}'.
CREATE INDEX stripe_webhook_events_payload ON stripe_webhook_events USING gin (payload jsonb_path_ops);
-- Requests counted per key and window. Unlogged: losing it in a crash forgives at most a window. No foreign key, as its
-- check would write WAL for every new window; rows of a deleted key expire by themselves.
CREATE UNLOGGED TABLE rate_limits (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    api_key_id uuid NOT NULL,
    window_start timestamptz NOT NULL,
    window_seconds int NOT NULL,
    request_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    CONSTRAINT rate_limits_window_key UNIQUE (api_key_id, window_seconds, window_start),
    CONSTRAINT rate_limits_window_positive CHECK (window_seconds > 0),
    CONSTRAINT rate_limits_count_not_negative CHECK (request_count >= 0),
    CONSTRAINT rate_limits_expires_after_start CHECK (expires_at > window_start)
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX rate_limits_expires_at ON rate_limits (expires_at);
-- Who changed what, when and why; only what changed, secrets masked. Append-only, in monthly partitions (UTC).
CREATE SEQUENCE audit_log_id_seq AS bigint;

CREATE TABLE audit_log (
    id bigint NOT NULL DEFAULT nextval('audit_log_id_seq'),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL DEFAULT session_user,
    action text NOT NULL,
    table_name text NOT NULL,
    row_id text,
    old_values jsonb,
    new_values jsonb,
    reason text,
    request_id text,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id, occurred_at),
    CONSTRAINT audit_log_action_given CHECK (action <> ''),
    CONSTRAINT audit_log_actor_given CHECK (actor <> ''),
    CONSTRAINT audit_log_occurred_at_plausible
    CHECK (occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00')
) PARTITION BY RANGE (occurred_at);

ALTER SEQUENCE audit_log_id_seq OWNED BY audit_log.id;

CREATE INDEX audit_log_row ON audit_log (table_name, row_id, occurred_at);
CREATE INDEX audit_log_actor ON audit_log (actor, occurred_at);
CREATE INDEX audit_log_occurred_at ON audit_log (occurred_at);
CREATE INDEX audit_log_new_values ON audit_log USING gin (new_values jsonb_path_ops);

CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued.
CREATE VIEW monthly_usage_summary AS
SELECT
    counted.user_id,
    counted.month,
    sum(counted.total_requests)::bigint AS total_requests,
    sum(counted.successful_requests)::bigint AS successful_requests,
    sum(counted.failed_requests)::bigint AS failed_requests,
    sum(counted.total_response_time_ms)::bigint AS total_response_time_ms,
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

-- This month and three ahead, so that the first row of a new database finds its partition.
DO $$
DECLARE
    parent text;
    opens timestamp;
    partition text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['api_usage', 'audit_log'] LOOP
        FOR ahead IN 0..3 LOOP
            opens := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead);
            partition := parent || to_char(opens, '"_"YYYY"_"MM');
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                partition, parent, opens AT TIME ZONE 'UTC', (opens + interval '1 month') AT TIME ZONE 'UTC'
            );
            IF parent = 'api_usage' THEN
                EXECUTE format(
                    'ALTER TABLE %I SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)',
                    partition
                );
            END IF;
        END LOOP;
    END LOOP;
END
$$;
