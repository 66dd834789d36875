-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON subscriptions;
DROP TRIGGER set_updated_at ON subscriptions;
DROP TRIGGER guard_counters ON subscriptions;
DROP TRIGGER complete_subscription ON subscriptions;

DROP INDEX api_usage_request_ids_conflicts;
ALTER TABLE api_usage_request_ids DROP COLUMN content_hash;
ALTER TABLE api_usage_request_ids DROP COLUMN conflicted_at;
/* The table is now:
-- Request ids that record_api_usage() has counted. Outside api_usage: an id stays known when its month is dropped.
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
*/

ALTER TABLE subscriptions ALTER COLUMN quantity TYPE int;
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

-- Gives the free plan to every user of orphaned_customers and returns them. A second call returns none. What
-- Stripe has for them is reconciliation's business.
CREATE OR REPLACE FUNCTION fix_orphaned_stripe_customers()
RETURNS TABLE (user_id uuid, email text, stripe_customer_id text, action text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fix_orphaned_stripe_customers', 0));

    RETURN QUERY
    WITH fixed AS (
        INSERT INTO subscriptions (user_id, tier, status, current_period_start)
        SELECT o.user_id, 'free', 'active', now()
        FROM orphaned_customers AS o
        ORDER BY o.user_id
        ON CONFLICT DO NOTHING
        RETURNING subscriptions.user_id
    )
    SELECT u.id, u.email, u.stripe_customer_id, 'created_free_subscription'
    FROM fixed AS f
    INNER JOIN users AS u ON u.id = f.user_id
    ORDER BY u.email;
END
$$;

-- Records one request of a key and returns true; false when its request id was recorded for the same user before, also
-- when that row's month has been dropped since. An unknown key is an error; a revoked one is recorded, as the request
-- was made.
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
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'record_api_usage: there is no API key %', coalesce(api_key_id::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF request_id <> '' THEN
        INSERT INTO api_usage_request_ids AS known (user_id, request_id)
        VALUES (owner, request_id)
        ON CONFLICT ON CONSTRAINT api_usage_request_ids_pkey DO NOTHING;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;

    INSERT INTO api_usage (
        user_id, api_key_id, endpoint, method, status_code, response_time_ms, request_bytes, response_bytes,
        ip_address, error_message, request_id, created_at
    )
    VALUES (
        owner, api_key_id, endpoint, method, status_code, response_time_ms, request_bytes, response_bytes,
        ip_address, error_message, nullif(request_id, ''), coalesce(created_at, now())
    );
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION record_api_usage FROM public;

-- Sets usage_count of every live subscription to its user's requests of this calendar month (UTC), queued ones
-- included; returns how many changed. usage_synced_at is when the count last moved.
CREATE OR REPLACE FUNCTION sync_subscription_usage() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_subscription_usage', 0));

    PERFORM set_config('app.counting', 'on', true);
    WITH stale AS (
        SELECT s.id, coalesce(m.total_requests, 0) AS requests
        FROM live_subscriptions AS s
        LEFT JOIN monthly_usage_summary AS m
            ON m.user_id = s.user_id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        WHERE s.usage_count <> coalesce(m.total_requests, 0)
        ORDER BY s.id
        FOR NO KEY UPDATE OF s
    )
    UPDATE subscriptions AS s
    SET usage_count = stale.requests, usage_synced_at = now()
    FROM stale
    WHERE s.id = stale.id;
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('app.counting', '', true);
    RETURN changed;
END
$$;

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
