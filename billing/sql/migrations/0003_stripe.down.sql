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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('entitlements', 'payment_totals', 'unclaimed_prices') AND a.grantee <> c.relowner;

DROP VIEW unclaimed_prices;
DROP VIEW payment_totals;
DROP VIEW entitlements;

DROP TRIGGER book_changed_totals ON payment_history;
DROP TRIGGER book_loaded_totals ON payment_history;
DROP TRIGGER set_updated_at ON payment_history;
DROP TRIGGER name_customer ON payment_history;

DROP TRIGGER audit ON plan_prices;
DROP TRIGGER set_updated_at ON plan_prices;
DROP TRIGGER release_waiting ON plan_prices;

DROP TRIGGER audit ON subscriptions;
DROP TRIGGER set_updated_at ON subscriptions;
DROP TRIGGER name_customer ON subscriptions;
DROP TRIGGER guard_counters ON subscriptions;
DROP TRIGGER complete_subscription ON subscriptions;

DROP TRIGGER audit ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER set_updated_at ON users;
DROP TRIGGER relink_primary_customer ON users;
DROP TRIGGER link_primary_customer ON users;
DROP TRIGGER keep_suspension ON users;

ALTER TABLE plan_prices DROP CONSTRAINT plan_prices_tier_known;
ALTER TABLE plan_prices ADD CONSTRAINT plan_prices_tier_fkey FOREIGN KEY (tier) REFERENCES plans (tier) ON DELETE RESTRICT NOT VALID;
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

DROP INDEX stripe_webhook_events_waits_for;
DROP INDEX stripe_webhook_events_prefix;
ALTER TABLE stripe_webhook_events DROP CONSTRAINT stripe_webhook_events_waits_for_bounded;
ALTER TABLE stripe_webhook_events DROP COLUMN waits_for;
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

ALTER TABLE users DROP CONSTRAINT users_times_plausible;
ALTER TABLE users DROP COLUMN suspended_at;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
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

DROP INDEX payment_history_stripe_customer_id;
DROP INDEX payment_history_stripe_invoice_id;
DROP INDEX payment_history_stripe_payment_intent_id;
DROP INDEX payment_history_stripe_charge_prefix;
DROP INDEX payment_history_out_of_band;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_disputed_not_negative;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_attempts_not_negative;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_out_of_band_without_charge;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_ids_short;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_texts_bounded;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_times_plausible;
ALTER TABLE payment_history DROP COLUMN stripe_customer_id;
ALTER TABLE payment_history DROP COLUMN disputed_cents;
ALTER TABLE payment_history DROP COLUMN paid_out_of_band;
ALTER TABLE payment_history DROP COLUMN attempt_count;
ALTER TABLE payment_history DROP COLUMN next_attempt_at;
ALTER TABLE payment_history DROP COLUMN failure_code;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_ids_short CHECK ( octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255 AND octet_length(stripe_charge_id) <= 255 ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_texts_bounded CHECK ( octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192 ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_times_plausible CHECK ( least(paid_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(paid_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
CREATE INDEX payment_history_stripe_invoice_id ON payment_history ( stripe_invoice_id ) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;
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

DROP INDEX subscriptions_stripe_customer_id;
DROP INDEX subscriptions_stripe_price_id;
DROP INDEX subscriptions_stripe_subscription_prefix;
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_collection_paused_known;
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_ids_short;
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_times_plausible;
ALTER TABLE subscriptions DROP COLUMN stripe_customer_id;
ALTER TABLE subscriptions DROP COLUMN cancel_at;
ALTER TABLE subscriptions DROP COLUMN collection_paused;
ALTER TABLE subscriptions DROP COLUMN collection_resumes_at;
ALTER TABLE subscriptions DROP COLUMN stripe_schedule_id;
ALTER TABLE subscriptions ADD CONSTRAINT subscriptions_ids_short CHECK ( octet_length(tier) <= 63 AND octet_length(stripe_subscription_id) <= 255 AND octet_length(stripe_price_id) <= 255 ) NOT VALID;
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

ALTER TABLE reconciliation_runs DROP CONSTRAINT reconciliation_runs_phase_known;
ALTER TABLE reconciliation_runs DROP COLUMN to_compare;
ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_phase_known CHECK ( phase IN ('events', 'customers', 'subscriptions', 'charges', 'unseen') ) NOT VALID;
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

ALTER TABLE reconciliation_differences DROP CONSTRAINT reconciliation_differences_kind_known;
ALTER TABLE reconciliation_differences ALTER COLUMN run_id SET NOT NULL;
ALTER TABLE reconciliation_differences ADD CONSTRAINT reconciliation_differences_kind_known CHECK ( kind IN ('missing_locally', 'missing_at_stripe', 'differs') ) NOT VALID;
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

-- Gives each new user the free plan, once per statement.
CREATE OR REPLACE FUNCTION create_free_subscriptions() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO subscriptions (user_id, tier, status, current_period_start)
    SELECT n.id, 'free', 'active', n.created_at
    FROM new_users AS n
    WHERE n.status <> 'deleted'
    ORDER BY n.id
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

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

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON plan_prices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON plan_prices
FOR EACH ROW EXECUTE FUNCTION audit_row_change('stripe_price_id');

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

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_free_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

DROP TRIGGER audit ON stripe_customers;
DROP TRIGGER release_waiting ON stripe_customers;
DROP TRIGGER follow_primary ON stripe_customers;
DROP TRIGGER keep_primary ON stripe_customers;

DROP TRIGGER set_updated_at ON stripe_catalogue;

DROP TRIGGER sum_up ON payment_movements;
DROP TRIGGER refuse_truncate ON payment_movements;
DROP TRIGGER refuse_change ON payment_movements;

DROP TRIGGER set_updated_at ON open_invoices;

DROP INDEX djstripe_paymentmethod_last4;

DROP INDEX djstripe_invoice_number;

DROP INDEX djstripe_charge_last4;
DROP INDEX djstripe_charge_receipt_number;

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION retry_waiting_events;

DROP FUNCTION post_payment_totals;

DROP TABLE stripe_requests;

DROP TABLE stripe_customers;

DROP TABLE stripe_catalogue;

DROP TABLE stripe_backfill_problems;

DROP TABLE stripe_backfill_lists;

DROP TABLE stripe_backfills;

DROP TABLE payment_movements;

DROP TABLE open_invoices;

DROP TABLE entitled_statuses;

DROP FUNCTION sum_payment_movements;

DROP FUNCTION release_waiting_events;

DROP FUNCTION refuse_payment_movement_change;

DROP FUNCTION name_stripe_customer;

DROP FUNCTION link_primary_customer;

DROP FUNCTION keep_suspension;

DROP FUNCTION keep_primary_customer;

DROP FUNCTION follow_primary_customer;

DROP FUNCTION book_payment_totals;

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
