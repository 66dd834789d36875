-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON subscriptions;
DROP TRIGGER set_updated_at ON subscriptions;
DROP TRIGGER guard_counters ON subscriptions;
DROP TRIGGER complete_subscription ON subscriptions;

--! tables/api_usage
ALTER TABLE api_usage ADD CONSTRAINT api_usage_endpoint_length CHECK (octet_length(endpoint) <= 2000) NOT VALID;
ALTER TABLE api_usage ADD CONSTRAINT api_usage_method_length CHECK (octet_length(method) <= 63) NOT VALID;
/* The table is now:
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
    -- Both are keys of the traffic tables. What writes through a function or the API has them cut.
    CONSTRAINT api_usage_endpoint_length CHECK (octet_length(endpoint) <= 2000),
    CONSTRAINT api_usage_method_length CHECK (octet_length(method) <= 63),
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
*/

--! tables/api_usage_deltas
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_month_first_day CHECK (extract(DAY FROM month) = 1) NOT VALID;
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_counted CHECK (total_requests > 0 AND failed_requests BETWEEN 0 AND total_requests) NOT VALID;
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_times_add_up CHECK ( max_response_time_ms >= 0 AND total_response_time_ms BETWEEN 0 AND total_requests::bigint * max_response_time_ms ) NOT VALID;
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01') NOT VALID;
ALTER TABLE api_usage_deltas ADD CONSTRAINT api_usage_deltas_times_plausible CHECK ( last_request_at >= '1970-01-01 00:00:00+00' AND last_request_at < '2200-01-01 00:00:00+00' ) NOT VALID;
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

--! tables/api_usage_request_ids
ALTER TABLE api_usage_request_ids ADD COLUMN content_hash bigint;
ALTER TABLE api_usage_request_ids ADD COLUMN conflicted_at timestamptz;
ALTER TABLE api_usage_request_ids ADD CONSTRAINT api_usage_request_ids_times_plausible CHECK ( least(recorded_at, conflicted_at) >= '1970-01-01 00:00:00+00' AND greatest(recorded_at, conflicted_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
CREATE INDEX api_usage_request_ids_conflicts ON api_usage_request_ids (conflicted_at) WHERE conflicted_at IS NOT NULL;
/* The table is now:
-- Request ids that record_api_usage() has counted. Outside api_usage: an id stays known when its month is dropped.
-- content_hash tells a request that is sent again from another one under the same id, last seen at conflicted_at; it is
-- NULL where it was not kept.
CREATE TABLE api_usage_request_ids (
    user_id uuid NOT NULL,
    request_id text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    content_hash bigint,
    conflicted_at timestamptz,
    CONSTRAINT api_usage_request_ids_pkey PRIMARY KEY (user_id, request_id),
    CONSTRAINT api_usage_request_ids_length CHECK (length(request_id) BETWEEN 1 AND 200),
    CONSTRAINT api_usage_request_ids_times_plausible CHECK (
        least(recorded_at, conflicted_at) >= '1970-01-01 00:00:00+00'
        AND greatest(recorded_at, conflicted_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX api_usage_request_ids_recorded_at ON api_usage_request_ids USING brin (recorded_at)
WITH (autosummarize = on);
CREATE INDEX api_usage_request_ids_conflicts ON api_usage_request_ids (conflicted_at) WHERE conflicted_at IS NOT NULL;
*/

--! tables/cognito_sync_cursors
ALTER TABLE cognito_sync_cursors ADD CONSTRAINT cognito_sync_cursors_texts_bounded CHECK (octet_length(user_pool_id) <= 255) NOT VALID;
ALTER TABLE cognito_sync_cursors ADD CONSTRAINT cognito_sync_cursors_times_plausible CHECK ( updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- How far an interrupted pass over a Cognito user pool came: the token of the next page. No row when none is under way.
CREATE TABLE cognito_sync_cursors (
    user_pool_id text PRIMARY KEY,
    page_token text NOT NULL,
    pages int NOT NULL CONSTRAINT cognito_sync_cursors_pages_positive CHECK (pages > 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cognito_sync_cursors_texts_bounded CHECK (octet_length(user_pool_id) <= 255),
    CONSTRAINT cognito_sync_cursors_times_plausible CHECK (
        updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00'
    )
);
*/

--! tables/plans
ALTER TABLE plans ADD CONSTRAINT plans_texts_bounded CHECK (octet_length(name) <= 800) NOT VALID;
ALTER TABLE plans ADD CONSTRAINT plans_times_plausible CHECK ( least(created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- What each tier is sold as. Limits are per calendar month (UTC) and per minute; a NULL limit is unlimited,
-- a NULL price is agreed with each customer.
CREATE TABLE plans (
    tier text PRIMARY KEY CONSTRAINT plans_tier_known CHECK (tier IN ('free', 'starter', 'professional', 'enterprise')),
    name text NOT NULL CONSTRAINT plans_name_given CHECK (name <> ''),
    monthly_request_limit bigint CONSTRAINT plans_monthly_request_limit_positive CHECK (monthly_request_limit > 0),
    rate_limit_per_minute int NOT NULL CONSTRAINT plans_rate_limit_positive CHECK (rate_limit_per_minute > 0),
    price_cents int CONSTRAINT plans_price_not_negative CHECK (price_cents >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plans_texts_bounded CHECK (octet_length(name) <= 800),
    CONSTRAINT plans_times_plausible CHECK (
        least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

INSERT INTO plans (tier, name, monthly_request_limit, rate_limit_per_minute, price_cents)
VALUES
('free', 'Free', 100, 10, 0),
('starter', 'Starter', 10000, 60, 2900),
('professional', 'Professional', 100000, 300, 9900),
('enterprise', 'Enterprise', NULL, 1000, NULL);
*/

--! tables/plan_prices
ALTER TABLE plan_prices ADD CONSTRAINT plan_prices_id_plain CHECK (stripe_price_id ~ '^[A-Za-z0-9_-]+$') NOT VALID;
ALTER TABLE plan_prices ADD CONSTRAINT plan_prices_texts_bounded CHECK ( octet_length(stripe_price_id) <= 255 AND octet_length(tier) <= 63 AND octet_length(note) <= 800 ) NOT VALID;
ALTER TABLE plan_prices ADD CONSTRAINT plan_prices_times_plausible CHECK ( least(created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Which Stripe prices sell a tier. Support edits this; it wins over a price's metadata and lookup key.
CREATE TABLE plan_prices (
    stripe_price_id text PRIMARY KEY CONSTRAINT plan_prices_id_given CHECK (stripe_price_id <> ''),
    tier text NOT NULL CONSTRAINT plan_prices_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- It stands in the address of its page.
    CONSTRAINT plan_prices_id_plain CHECK (stripe_price_id ~ '^[A-Za-z0-9_-]+$'),
    CONSTRAINT plan_prices_texts_bounded CHECK (
        octet_length(stripe_price_id) <= 255 AND octet_length(tier) <= 63 AND octet_length(note) <= 800
    ),
    CONSTRAINT plan_prices_times_plausible CHECK (
        least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX plan_prices_tier ON plan_prices (tier);
*/

--! tables/rate_limits
ALTER TABLE rate_limits ADD CONSTRAINT rate_limits_times_plausible CHECK ( least(window_start, expires_at) >= '1970-01-01 00:00:00+00' AND greatest(window_start, expires_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
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
    CONSTRAINT rate_limits_expires_after_start CHECK (expires_at > window_start),
    CONSTRAINT rate_limits_times_plausible CHECK (
        least(window_start, expires_at) >= '1970-01-01 00:00:00+00'
        AND greatest(window_start, expires_at) < '2200-01-01 00:00:00+00'
    )
)
WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX rate_limits_expires_at ON rate_limits (expires_at);
*/

--! tables/replay_runs
ALTER TABLE replay_runs ADD CONSTRAINT replay_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192) NOT VALID;
ALTER TABLE replay_runs ADD CONSTRAINT replay_runs_times_plausible CHECK ( least(position_at, claimed_until, created_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00' AND greatest(position_at, claimed_until, created_at, updated_at, finished_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Replays of stored events in the background. position_* is the last event tried; claimed_until keeps a second worker
-- out.
CREATE TABLE replay_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'running',
    filters jsonb NOT NULL,
    events_per_minute int NOT NULL CONSTRAINT replay_runs_rate_positive CHECK (events_per_minute > 0),
    total int NOT NULL DEFAULT 0,
    processed int NOT NULL DEFAULT 0,
    failed int NOT NULL DEFAULT 0,
    skipped int NOT NULL DEFAULT 0,
    position_at timestamptz,
    position_id uuid,
    claimed_until timestamptz,
    actor text NOT NULL,
    reason text NOT NULL CONSTRAINT replay_runs_reason_given CHECK (reason <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT replay_runs_status_known CHECK (status IN ('running', 'finished', 'stopped')),
    CONSTRAINT replay_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192),
    CONSTRAINT replay_runs_times_plausible CHECK (
        least(position_at, claimed_until, created_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(position_at, claimed_until, created_at, updated_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX replay_runs_created_at ON replay_runs (created_at);
CREATE INDEX replay_runs_running ON replay_runs (claimed_until) WHERE status = 'running';
*/

--! tables/stripe_tombstones
ALTER TABLE stripe_tombstones ADD CONSTRAINT stripe_tombstones_texts_bounded CHECK (octet_length(stripe_id) <= 255 AND octet_length(kind) <= 255) NOT VALID;
ALTER TABLE stripe_tombstones ADD CONSTRAINT stripe_tombstones_times_plausible CHECK ( deleted_at >= '1970-01-01 00:00:00+00' AND deleted_at < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Objects that were deleted at Stripe. Nothing removes a row: a late event must not bring the object back.
CREATE TABLE stripe_tombstones (
    stripe_id text PRIMARY KEY CONSTRAINT stripe_tombstones_id_given CHECK (stripe_id <> ''),
    kind text NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stripe_tombstones_texts_bounded CHECK (octet_length(stripe_id) <= 255 AND octet_length(kind) <= 255),
    CONSTRAINT stripe_tombstones_times_plausible CHECK (
        deleted_at >= '1970-01-01 00:00:00+00' AND deleted_at < '2200-01-01 00:00:00+00'
    )
);
*/

--! tables/stripe_webhook_events
ALTER TABLE stripe_webhook_events ADD CONSTRAINT stripe_webhook_events_texts_bounded CHECK ( octet_length(stripe_event_id) <= 255 AND octet_length(event_type) <= 255 AND octet_length(api_version) <= 255 AND octet_length(last_error) <= 20000 ) NOT VALID;
ALTER TABLE stripe_webhook_events ADD CONSTRAINT stripe_webhook_events_times_plausible CHECK ( least(next_retry_at, received_at, processing_started_at, processed_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest( next_retry_at, received_at, processing_started_at, processed_at, updated_at ) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
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
    CONSTRAINT stripe_webhook_events_payload_object CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT stripe_webhook_events_texts_bounded CHECK (
        octet_length(stripe_event_id) <= 255 AND octet_length(event_type) <= 255
        AND octet_length(api_version) <= 255 AND octet_length(last_error) <= 20000
    ),
    CONSTRAINT stripe_webhook_events_times_plausible CHECK (
        least(next_retry_at, received_at, processing_started_at, processed_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(
            next_retry_at, received_at, processing_started_at, processed_at, updated_at
        ) < '2200-01-01 00:00:00+00'
    )
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

-- The back office's sorts and filters.
CREATE INDEX stripe_webhook_events_status ON stripe_webhook_events (status, received_at DESC);
*/

--! tables/unmatched_stripe_customers
ALTER TABLE unmatched_stripe_customers ADD CONSTRAINT unmatched_stripe_customers_id_plain CHECK (stripe_customer_id ~ '^[A-Za-z0-9_-]+$') NOT VALID;
ALTER TABLE unmatched_stripe_customers ADD CONSTRAINT unmatched_stripe_customers_texts_bounded CHECK ( octet_length(stripe_customer_id) <= 255 AND octet_length(email) <= 8192 AND octet_length(name) <= 8192 AND octet_length(reason) <= 20000 ) NOT VALID;
ALTER TABLE unmatched_stripe_customers ADD CONSTRAINT unmatched_stripe_customers_times_plausible CHECK ( first_seen_at >= '1970-01-01 00:00:00+00' AND first_seen_at < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
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
*/

--! tables/users
DROP INDEX users_name_prefix;
ALTER TABLE users ADD CONSTRAINT users_ids_short CHECK ( octet_length(cognito_user_id) <= 255 AND octet_length(stripe_customer_id) <= 255 ) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_email_short CHECK (octet_length(email) <= 512) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_name_length CHECK (octet_length(name) <= 8192) NOT VALID;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
/* The table is now:
-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
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
        least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00'
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

--! tables/api_keys
ALTER TABLE api_keys ADD CONSTRAINT api_keys_usage_possible CHECK (usage_count <= 1000000000000000) NOT VALID;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_texts_bounded CHECK ( octet_length(name) <= 800 AND octet_length(key_hash) <= 255 AND octet_length(revoked_reason) <= 8192 ) NOT VALID;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_times_plausible CHECK ( least(last_used_at, expires_at, revoked_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(last_used_at, expires_at, revoked_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
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

--! tables/customer_notes
ALTER TABLE customer_notes ADD CONSTRAINT customer_notes_texts_bounded CHECK (octet_length(author) <= 800 AND octet_length(body) <= 8192) NOT VALID;
ALTER TABLE customer_notes ADD CONSTRAINT customer_notes_times_plausible CHECK ( created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- What staff want the next person to know about a customer. Written once; a correction is another note.
CREATE TABLE customer_notes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT customer_notes_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    author text NOT NULL CONSTRAINT customer_notes_author_given CHECK (author <> ''),
    body text NOT NULL CONSTRAINT customer_notes_body_given CHECK (body <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customer_notes_texts_bounded CHECK (octet_length(author) <= 800 AND octet_length(body) <= 8192),
    CONSTRAINT customer_notes_times_plausible CHECK (
        created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX customer_notes_user_id ON customer_notes (user_id, created_at DESC);
*/

--! tables/payment_history
ALTER TABLE payment_history ADD CONSTRAINT payment_history_ids_given CHECK ( stripe_invoice_id <> '' AND stripe_payment_intent_id <> '' AND stripe_charge_id <> '' ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_ids_short CHECK ( octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255 AND octet_length(stripe_charge_id) <= 255 ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_texts_bounded CHECK ( octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192 ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_amount_possible CHECK (amount_cents <= 999999999999) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_times_plausible CHECK ( least(paid_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(paid_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
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
    CONSTRAINT payment_history_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    -- An empty string is not "no id": Stripe cannot be asked for it.
    CONSTRAINT payment_history_ids_given CHECK (
        stripe_invoice_id <> '' AND stripe_payment_intent_id <> '' AND stripe_charge_id <> ''
    ),
    CONSTRAINT payment_history_ids_short CHECK (
        octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255
        AND octet_length(stripe_charge_id) <= 255
    ),
    CONSTRAINT payment_history_texts_bounded CHECK (
        octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192
        AND octet_length(receipt_url) <= 8192
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT payment_history_amount_possible CHECK (amount_cents <= 999999999999),
    CONSTRAINT payment_history_times_plausible CHECK (
        least(paid_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(paid_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX payment_history_user_id ON payment_history (user_id, created_at DESC);
CREATE INDEX payment_history_stripe_invoice_id ON payment_history (
    stripe_invoice_id
) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id)
WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX payment_history_paid_at ON payment_history (paid_at)
INCLUDE (amount_cents, refunded_cents, currency, status) WHERE paid_at IS NOT NULL;
CREATE INDEX payment_history_failures ON payment_history (created_at) WHERE status IN ('failed', 'disputed');

-- The back office's sorts and filters.
CREATE INDEX payment_history_created_at ON payment_history (created_at);
CREATE INDEX payment_history_status ON payment_history (status, created_at DESC);
*/

--! tables/subscriptions
ALTER TABLE subscriptions ALTER COLUMN quantity TYPE bigint;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_usage_possible CHECK (usage_count <= 1000000000000000) NOT VALID;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_ids_short CHECK ( octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255 AND octet_length(stripe_price_id) <= 255 ) NOT VALID;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_price_possible CHECK (price_cents <= 999999999999999) NOT VALID;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_times_plausible CHECK ( least( current_period_start, current_period_end, canceled_at, trial_end, usage_synced_at, created_at, updated_at ) >= '1970-01-01 00:00:00+00' AND greatest( current_period_start, current_period_end, canceled_at, trial_end, usage_synced_at, created_at, updated_at ) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- What a customer may use and pays, past and present. One live row per user; the free plan is a row too.
-- price_cents is the monthly price after recurring discounts; a NULL monthly_request_limit is unlimited.
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT subscriptions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    tier text NOT NULL DEFAULT 'free' CONSTRAINT subscriptions_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    status text NOT NULL DEFAULT 'active',
    stripe_subscription_id text CONSTRAINT subscriptions_stripe_subscription_id_key UNIQUE,
    stripe_price_id text,
    quantity bigint NOT NULL DEFAULT 1,
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
    CONSTRAINT subscriptions_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT subscriptions_canceled_is_dated CHECK (status <> 'canceled' OR canceled_at IS NOT NULL),
    CONSTRAINT subscriptions_ids_short CHECK (
        octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255
        AND octet_length(stripe_price_id) <= 255
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT subscriptions_price_possible CHECK (price_cents <= 999999999999999),
    CONSTRAINT subscriptions_times_plausible CHECK (
        least(
            current_period_start, current_period_end, canceled_at, trial_end, usage_synced_at,
            created_at, updated_at
        ) >= '1970-01-01 00:00:00+00'
        AND greatest(
            current_period_start, current_period_end, canceled_at, trial_end, usage_synced_at,
            created_at, updated_at
        ) < '2200-01-01 00:00:00+00'
    )
);

-- Stripe allows a customer two subscriptions at once; the lower one is kept as a marked duplicate. The statuses are
-- those of live_subscriptions, word for word, so that the index serves it too.
CREATE UNIQUE INDEX subscriptions_one_live_per_user ON subscriptions (user_id)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;

CREATE INDEX subscriptions_user_id ON subscriptions (user_id, created_at);
CREATE INDEX subscriptions_tier_status ON subscriptions (tier, status) INCLUDE (price_cents, currency);
CREATE INDEX subscriptions_due ON subscriptions (current_period_end) WHERE status IN ('trialing', 'active');
CREATE INDEX subscriptions_duplicates ON subscriptions (user_id) WHERE is_duplicate;

-- The back office's sorts and filters.
CREATE INDEX subscriptions_created_at ON subscriptions (created_at);
CREATE INDEX subscriptions_status ON subscriptions (status, created_at DESC);
CREATE INDEX subscriptions_tier ON subscriptions (tier, created_at DESC);
*/

--! tables/reconciliation_runs
ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192) NOT VALID;
ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_times_plausible CHECK ( least(events_from, events_until, started_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00' AND greatest(events_from, events_until, started_at, updated_at, finished_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Comparisons with Stripe. phase and position say where to resume; events_until is where the next run's listing starts.
CREATE TABLE reconciliation_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'running',
    phase text NOT NULL DEFAULT 'events',
    position text,
    ingest boolean NOT NULL DEFAULT false,
    repair boolean NOT NULL DEFAULT false,
    events_from timestamptz NOT NULL,
    events_until timestamptz NOT NULL,
    request_budget int NOT NULL CONSTRAINT reconciliation_runs_budget_positive CHECK (request_budget > 0),
    requests int NOT NULL DEFAULT 0,
    compared int NOT NULL DEFAULT 0,
    missing_events int NOT NULL DEFAULT 0,
    differences_found int NOT NULL DEFAULT 0,
    repaired int NOT NULL DEFAULT 0,
    error text,
    actor text NOT NULL,
    reason text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT reconciliation_runs_status_known CHECK (status IN ('running', 'paused', 'finished', 'failed')),
    CONSTRAINT reconciliation_runs_phase_known CHECK (
        phase IN ('events', 'customers', 'subscriptions', 'charges', 'unseen')
    ),
    CONSTRAINT reconciliation_runs_texts_bounded CHECK (octet_length(actor) <= 800 AND octet_length(reason) <= 8192),
    CONSTRAINT reconciliation_runs_times_plausible CHECK (
        least(events_from, events_until, started_at, updated_at, finished_at) >= '1970-01-01 00:00:00+00'
        AND greatest(events_from, events_until, started_at, updated_at, finished_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX reconciliation_runs_started_at ON reconciliation_runs (started_at);
*/

--! tables/reconciliation_differences
ALTER TABLE reconciliation_differences ADD CONSTRAINT reconciliation_differences_texts_bounded CHECK ( octet_length(object_kind) <= 255 AND octet_length(stripe_id) <= 255 AND octet_length(stripe_customer_id) <= 255 AND octet_length(field) <= 255 ) NOT VALID;
ALTER TABLE reconciliation_differences ADD CONSTRAINT reconciliation_differences_times_plausible CHECK ( least(found_at, closed_at) >= '1970-01-01 00:00:00+00' AND greatest(found_at, closed_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Field by field, what our tables and Stripe disagree about. A difference that a later complete run no longer finds is
-- 'gone'; one that is found again stays the same open row.
CREATE TABLE reconciliation_differences (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL
    CONSTRAINT reconciliation_differences_run_id_fkey REFERENCES reconciliation_runs (id) ON DELETE CASCADE,
    kind text NOT NULL,
    object_kind text NOT NULL,
    stripe_id text NOT NULL,
    stripe_customer_id text,
    user_id uuid CONSTRAINT reconciliation_differences_user_id_fkey REFERENCES users (id) ON DELETE SET NULL,
    field text NOT NULL DEFAULT '',
    local_value text,
    stripe_value text,
    status text NOT NULL DEFAULT 'open',
    note text,
    found_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    CONSTRAINT reconciliation_differences_kind_known CHECK (
        kind IN ('missing_locally', 'missing_at_stripe', 'differs')
    ),
    CONSTRAINT reconciliation_differences_status_known CHECK (status IN ('open', 'repaired', 'gone')),
    CONSTRAINT reconciliation_differences_texts_bounded CHECK (
        octet_length(object_kind) <= 255 AND octet_length(stripe_id) <= 255
        AND octet_length(stripe_customer_id) <= 255 AND octet_length(field) <= 255
    ),
    CONSTRAINT reconciliation_differences_times_plausible CHECK (
        least(found_at, closed_at) >= '1970-01-01 00:00:00+00'
        AND greatest(found_at, closed_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX reconciliation_differences_one_open ON reconciliation_differences (object_kind, stripe_id, field)
WHERE status = 'open';
CREATE INDEX reconciliation_differences_run_id ON reconciliation_differences (run_id);
CREATE INDEX reconciliation_differences_user_id ON reconciliation_differences (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX reconciliation_differences_status ON reconciliation_differences (status, id);
CREATE INDEX reconciliation_differences_kind ON reconciliation_differences (kind, id);
*/

--! tables/reconciliation_seen
ALTER TABLE reconciliation_seen ADD CONSTRAINT reconciliation_seen_id_short CHECK (octet_length(stripe_id) <= 255) NOT VALID;
/* The table is now:
-- What Stripe listed during a run: whatever we have beside it is asked for one by one. Emptied when the run ends.
CREATE TABLE reconciliation_seen (
    run_id uuid NOT NULL
    CONSTRAINT reconciliation_seen_run_id_fkey REFERENCES reconciliation_runs (id) ON DELETE CASCADE,
    stripe_id text NOT NULL,
    PRIMARY KEY (run_id, stripe_id),
    CONSTRAINT reconciliation_seen_id_short CHECK (octet_length(stripe_id) <= 255)
);
*/

--! functions/check_rate_limit
-- Counts one request of a key if it is within the plan's limits per minute (of the key) and per calendar month, UTC (of
-- the user), and says so. Returns one row: allowed, how many more requests the tighter window has room for, when that
-- window ends, and the reason: ok; rate, too many this minute; quota, the month is used up; key, the key is unknown,
-- revoked or expired or its user is not active, and reset_at is NULL. A refused request is not counted.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass the
-- limit: call it on its own. The month's count starts from the recorded usage and never falls behind it.
CREATE OR REPLACE FUNCTION check_rate_limit(api_key_id uuid)
RETURNS TABLE (allowed boolean, remaining int, reset_at timestamptz, reason text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    key uuid := check_rate_limit.api_key_id;
    moment CONSTANT timestamptz := clock_timestamp();
    minute_start CONSTANT timestamptz := date_trunc('minute', moment);
    minute_end CONSTANT timestamptz := minute_start + interval '1 minute';
    month_start CONSTANT timestamptz := date_trunc('month', moment, 'UTC');
    month_end CONSTANT timestamptz := (date_trunc('month', moment AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    month_seconds CONSTANT int := extract(epoch FROM month_end - month_start);
    owner uuid;
    per_minute bigint;
    per_month bigint;
    used_this_minute bigint;
    checked_this_month bigint;
    used_this_month bigint;
    left_this_minute bigint;
    left_this_month bigint;
BEGIN
    IF key IS NULL THEN
        RAISE EXCEPTION 'check_rate_limit: api_key_id is NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT u.id, p.rate_limit_per_minute, CASE WHEN s.id IS NULL THEN p.monthly_request_limit ELSE s.monthly_request_limit END
    INTO owner, per_minute, per_month
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN live_subscriptions AS s ON s.user_id = u.id AND NOT s.is_duplicate
    INNER JOIN plans AS p ON p.tier = coalesce(s.tier, 'free')
    WHERE k.id = key
        AND u.status = 'active'
        AND k.revoked_at IS NULL
        AND coalesce(k.expires_at > moment, true);
    IF NOT FOUND THEN
        RETURN QUERY SELECT false, 0, NULL::timestamptz, 'key';
        RETURN;
    END IF;

    PERFORM pg_advisory_xact_lock(hashtextextended(format('check_rate_limit %s', owner), 0));
    SELECT coalesce(sum(r.request_count), 0) INTO used_this_minute
    FROM rate_limits AS r
    WHERE r.api_key_id = key AND r.window_seconds = 60 AND r.window_start = minute_start;
    left_this_minute := per_minute - used_this_minute - 1;

    IF per_month IS NOT NULL THEN
        SELECT coalesce(sum(r.request_count), 0) INTO checked_this_month
        FROM rate_limits AS r
        WHERE r.api_key_id IN (SELECT k.id FROM api_keys AS k WHERE k.user_id = owner)
            AND r.window_seconds = month_seconds
            AND r.window_start = month_start;
        SELECT greatest(checked_this_month, coalesce(sum(m.total_requests), 0)) INTO used_this_month
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
        left_this_month := per_month - used_this_month - 1;
    END IF;

    IF left_this_month < 0 THEN
        RETURN QUERY SELECT false, 0, month_end, 'quota';
        RETURN;
    END IF;
    IF left_this_minute < 0 THEN
        RETURN QUERY SELECT false, 0, minute_end, 'rate';
        RETURN;
    END IF;

    INSERT INTO rate_limits AS r (api_key_id, window_start, window_seconds, request_count, expires_at)
    VALUES (key, minute_start, 60, 1, minute_end)
    ON CONFLICT (api_key_id, window_seconds, window_start) DO UPDATE SET request_count = r.request_count + 1;
    IF per_month IS NOT NULL THEN
        -- Catches up with what was recorded without a check, so that the sum over the user's keys is what is used.
        INSERT INTO rate_limits AS r (api_key_id, window_start, window_seconds, request_count, expires_at)
        VALUES (key, month_start, month_seconds, used_this_month + 1 - checked_this_month, month_end)
        ON CONFLICT (api_key_id, window_seconds, window_start)
        DO UPDATE SET request_count = r.request_count + excluded.request_count;
    END IF;
    RETURN QUERY
    SELECT
        true,
        least(left_this_minute, left_this_month, 2147483647)::int,
        CASE WHEN left_this_month < left_this_minute THEN month_end ELSE minute_end END,
        'ok';
END
$$;

REVOKE EXECUTE ON FUNCTION check_rate_limit(uuid) FROM public;

--! functions/cleanup_api_usage_request_ids
-- Forgets request ids that were recorded more than `days` days ago; returns how many. A caller that sends one of them
-- again is counted again, so this is kept well longer than api_usage itself.
CREATE OR REPLACE FUNCTION cleanup_api_usage_request_ids(days int DEFAULT 400) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_api_usage_request_ids', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_api_usage_request_ids', 0));
    RETURN delete_rows('api_usage_request_ids', format('recorded_at < %L', cutoff));
END
$$;

--! functions/cleanup_old_api_usage
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

--! functions/cleanup_rate_limits
-- Deletes the windows that have ended; returns how many.
CREATE OR REPLACE FUNCTION cleanup_rate_limits() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_rate_limits', 0));
    RETURN delete_rows('rate_limits', 'expires_at <= now()');
END
$$;

--! functions/cleanup_webhook_events
-- Deletes events that were processed or ignored more than `days` days ago; returns how many. Failed and dead ones stay.
CREATE OR REPLACE FUNCTION cleanup_webhook_events(days int DEFAULT 30) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_webhook_events', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_webhook_events', 0));
    RETURN delete_rows(
        'stripe_webhook_events',
        format($c$status IN ('processed', 'ignored') AND coalesce(processed_at, received_at) < %L$c$, cutoff)
    );
END
$$;

--! functions/complete_webhook_processing
-- Ends the processing of an event: NULL error, processed; else failed, to be tried again after 1, 5 and 30 minutes,
-- then 2, 5 and 10 hours (plus up to a quarter as jitter), and dead after 8 attempts. False when the event was not
-- being processed.
CREATE OR REPLACE FUNCTION complete_webhook_processing(event_id text, error text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    max_attempts CONSTANT int := webhook_attempts();
    pauses CONSTANT interval [] := ARRAY['1 min', '5 min', '30 min', '2 h', '5 h', '10 h']::interval [];
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'complete_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET
        status = CASE WHEN error IS NULL THEN 'processed' WHEN e.attempts >= max_attempts THEN 'dead' ELSE 'failed' END,
        last_error = left(error, 5000),
        processed_at = CASE WHEN error IS NULL THEN clock_timestamp() END,
        next_retry_at = CASE
            WHEN error IS NOT NULL AND e.attempts < max_attempts THEN
                clock_timestamp()
                + pauses[least(greatest(e.attempts, 1), cardinality(pauses))] * (1::float8 + random() / 4::float8)
        END
    WHERE e.stripe_event_id = event_id AND e.status = 'processing';
    RETURN FOUND;
END
$$;

--! functions/count_api_usage
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

--! functions/create_api_usage_partitions
-- Makes the monthly partitions of api_usage for this month (UTC) and `months` ahead, 0 to 120, and moves rows of the
-- default partition into partitions of their own, up to six months at a call. Returns how many of this month and the
-- ones ahead were made; create_monthly_partitions() says how, and what becomes of a month that cannot be made.
CREATE OR REPLACE FUNCTION create_api_usage_partitions(months int DEFAULT 3) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict error
BEGIN
    RETURN (SELECT count(*)::int FROM create_monthly_partitions('api_usage'::regclass, months, 6) AS m WHERE m.ahead);
END
$$;

REVOKE EXECUTE ON FUNCTION create_api_usage_partitions(int) FROM public;

--! functions/fix_orphaned_stripe_customers
-- Gives the free plan to every user of orphaned_customers and returns them. A second call returns none. What
-- Stripe has for them is reconciliation's business. A user who cannot be given it, or whom somebody else holds for a
-- second, is left to the next call with a warning.
CREATE OR REPLACE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = 0
AS $$
#variable_conflict use_column
DECLARE
    orphan record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));
    SET LOCAL lock_timeout = '1s';  -- until the function ends

    FOR orphan IN
        SELECT u.id, u.email, u.stripe_customer_id
        FROM orphaned_customers AS o
        INNER JOIN users AS u ON u.id = o.user_id
        ORDER BY u.email, u.id
    LOOP
        BEGIN
            INSERT INTO subscriptions (user_id, tier, status, current_period_start)
            VALUES (orphan.id, 'free', 'active', now())
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                RETURN QUERY
                SELECT orphan.id, orphan.email, orphan.stripe_customer_id, 'created_free_subscription';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'fix_orphaned_stripe_customers: left out user %: %', orphan.id, SQLERRM;
        END;
    END LOOP;
END
$$;

--! functions/keep_api_key_revoked
CREATE OR REPLACE FUNCTION keep_api_key_revoked() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
    RAISE EXCEPTION 'api_keys: a revoked key stays revoked'
        USING ERRCODE = 'check_violation', DETAIL = format('Key %s was revoked at %s.', OLD.key_prefix, OLD.revoked_at),
              HINT = 'Create a new key instead.';
END
$$;

--! functions/record_api_usage
-- Records one request of a key and returns true; false when its request id was recorded for the same user before, also
-- when that row's month has been dropped since, with a warning when it was another request. An unknown key is an error;
-- a revoked one is recorded, as the request was made. Texts that strangers determine are cut to what fits, and a longer
-- request id stands for itself by its hash: no request is lost by them.
CREATE OR REPLACE FUNCTION record_api_usage(
    api_key_id uuid,
    endpoint text,
    method text,
    status_code int,
    response_time_ms int,
    request_bytes int DEFAULT NULL,
    response_bytes int DEFAULT NULL,
    ip_address inet DEFAULT NULL,
    error_message text DEFAULT NULL,
    request_id text DEFAULT NULL,
    created_at timestamptz DEFAULT now()
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    owner CONSTANT uuid := (SELECT k.user_id FROM api_keys AS k WHERE k.id = api_key_id);
    -- As billing.services.usage writes it. The default of created_at differs each time that a request is sent.
    content CONSTANT bigint := hashtextextended(format(
        '%s|%s|%s|%s|%s|%s|%s|%s', api_key_id, endpoint, method, status_code, response_time_ms, request_bytes,
        response_bytes, (extract(EPOCH FROM nullif(created_at, now())) * 1000000::numeric)::bigint
    ), 0);
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'record_api_usage: there is no API key %', coalesce(api_key_id::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(request_id) > 200 THEN
        request_id := 'sha256:' || encode(sha256(convert_to(request_id, 'UTF8')), 'hex');
    END IF;
    IF request_id <> '' THEN
        INSERT INTO api_usage_request_ids AS known (user_id, request_id, content_hash)
        VALUES (owner, request_id, content)
        ON CONFLICT ON CONSTRAINT api_usage_request_ids_pkey DO NOTHING;
        IF NOT FOUND THEN
            UPDATE api_usage_request_ids AS known
            SET conflicted_at = now()
            WHERE known.user_id = owner AND known.request_id = request_id AND known.content_hash <> content;
            IF FOUND THEN
                RAISE WARNING 'record_api_usage: request id % was recorded for another request; this one is not counted',
                    request_id;
            END IF;
            RETURN false;
        END IF;
    END IF;

    INSERT INTO api_usage (
        user_id, api_key_id, endpoint, method, status_code, response_time_ms, request_bytes, response_bytes,
        ip_address, error_message, request_id, created_at
    )
    VALUES (
        owner, api_key_id, left(endpoint, 500), left(method, 15), status_code, response_time_ms, request_bytes,
        response_bytes, ip_address, left(error_message, 2000), nullif(request_id, ''), coalesce(created_at, now())
    );
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION record_api_usage FROM public;

--! functions/roll_up_usage
-- Folds the queue of counted requests into monthly_usage_totals and into the keys' usage_count and last_used_at;
-- returns how many queued rows were folded. A second caller waits and folds what is left. A customer whose rows cannot
-- be folded is named by a warning and stays in the queue, where monthly_usage_summary counts them all the same. The
-- memory is for half a million queued rows: in temporary files the fold takes a fifth longer.
CREATE OR REPLACE FUNCTION roll_up_usage() RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET work_mem = '64MB'
AS $$
DECLARE
    folded bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('roll_up_usage', 0));
    IF NOT EXISTS (SELECT 1 FROM api_usage_deltas) THEN
        RETURN 0;
    END IF;

    -- Set here and not in the function's header, which only a superuser may do.
    PERFORM set_config('app.counting', 'on', true);
    folded := roll_up_usage_of(NULL);
    PERFORM set_config('app.counting', '', true);
    RETURN folded;
END
$$;

REVOKE EXECUTE ON FUNCTION roll_up_usage() FROM public;

--! functions/roll_up_usage_of
-- The fold itself, of the customers' rows or of all (NULL); returns how many queued rows it took. For roll_up_usage()
-- only, which holds the lock. One statement deletes and adds, so nothing is counted twice or lost. A key that somebody
-- else is changing is left for the next call, so that the fold never takes part in a deadlock.
--
-- Where a row stands in the way of the others, each half is folded on its own, down to the customer whose it is.
CREATE FUNCTION roll_up_usage_of(customers uuid[]) RETURNS bigint -- noqa: LT01
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
        RAISE WARNING 'roll_up_usage: left out customer %: %', customers[1], SQLERRM;
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

--! functions/start_webhook_processing
-- Claims an event for 15 minutes and counts the attempt. True to exactly one caller: for a pending event, one never
-- seen (a stub row is stored), a failed one that is due, or one whose lease ran out. An event whose eighth lease ran
-- out took its worker down every time: it is dead.
CREATE OR REPLACE FUNCTION start_webhook_processing(event_id text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET intervalstyle = 'postgres'
AS $$
DECLARE
    lease CONSTANT interval := webhook_lease();
    max_attempts CONSTANT int := webhook_attempts();
    claimed text;
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF octet_length(event_id) > 255 THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id has % octets, at most 255 are possible', octet_length(event_id)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO stripe_webhook_events AS e (stripe_event_id, status, attempts, processing_started_at)
    VALUES (event_id, 'processing', 1, clock_timestamp())
    ON CONFLICT (stripe_event_id) DO UPDATE
    SET
        status = CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 'dead' ELSE 'processing' END,
        attempts = least(e.attempts, 2147483646) + CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 0 ELSE 1 END,
        last_error = CASE
            WHEN e.status = 'processing' THEN format('The worker of attempt %s did not finish within %s.', e.attempts, lease)
            ELSE e.last_error
        END,
        next_retry_at = NULL,
        processing_started_at = clock_timestamp()
    WHERE e.status = 'pending'
        OR (e.status = 'failed' AND coalesce(e.next_retry_at, '-infinity') <= clock_timestamp())
        OR (e.status = 'processing' AND coalesce(e.processing_started_at, '-infinity') <= clock_timestamp() - lease)
    RETURNING e.status INTO claimed;

    RETURN coalesce(claimed = 'processing', false);
END
$$;

--! functions/sync_subscription_usage
-- Sets usage_count of every live subscription to its user's requests of this calendar month (UTC), queued ones
-- included; returns how many changed. usage_synced_at is when the count last moved. A subscription that somebody else
-- is changing is left to the next call: nobody waits for it. One that cannot be changed is named by a warning and keeps
-- no other one.
CREATE OR REPLACE FUNCTION sync_subscription_usage() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    miscounted record;
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_subscription_usage', 0));

    PERFORM set_config('app.counting', 'on', true);
    BEGIN
        WITH stale AS (
            SELECT s.id, m.requests
            FROM subscriptions AS s
            INNER JOIN miscounted_subscriptions AS m ON m.id = s.id
            ORDER BY s.id
            FOR NO KEY UPDATE OF s SKIP LOCKED
        )
        UPDATE subscriptions AS s
        SET usage_count = stale.requests, usage_synced_at = now()
        FROM stale
        WHERE s.id = stale.id;
        GET DIAGNOSTICS changed = ROW_COUNT;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
        changed := 0;
        FOR miscounted IN SELECT m.id, m.requests FROM miscounted_subscriptions AS m ORDER BY m.id LOOP
            BEGIN
                UPDATE subscriptions AS s
                SET usage_count = miscounted.requests, usage_synced_at = now()
                FROM (SELECT l.id FROM subscriptions AS l WHERE l.id = miscounted.id FOR NO KEY UPDATE SKIP LOCKED) AS own
                WHERE s.id = own.id;
                changed := changed + FOUND::int;
            EXCEPTION
                WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
                    RAISE WARNING 'sync_subscription_usage: left out subscription %: %', miscounted.id, SQLERRM;
            END;
        END LOOP;
    END;
    PERFORM set_config('app.counting', '', true);
    RETURN changed;
END
$$;

--! views/monthly_usage_summary
-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued. Times beyond what a bigint
-- holds stop at its end.
CREATE OR REPLACE VIEW monthly_usage_summary AS
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

--! views/miscounted_subscriptions
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

--! triggers/subscriptions
-- Triggers fire in the order of their names: the guard and the completion come before set_updated_at compares the row.
CREATE TRIGGER complete_subscription BEFORE INSERT OR UPDATE OF tier, status, monthly_request_limit ON subscriptions
FOR EACH ROW EXECUTE FUNCTION complete_subscription();

CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, usage_synced_at ON subscriptions
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_subscription_counters();

-- Counting is no change of the subscription: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON subscriptions
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.usage_synced_at IS NOT DISTINCT FROM new.usage_synced_at
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the sync moves for every user: it must not pay for an audit.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, tier, status, stripe_subscription_id, stripe_price_id, quantity, price_cents, currency, "interval",
current_period_start, current_period_end, cancel_at_period_end, canceled_at, trial_end, is_duplicate,
monthly_request_limit, created_at
ON subscriptions
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'usage_synced_at');
