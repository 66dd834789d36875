-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER audit ON api_keys;
DROP TRIGGER set_updated_at ON api_keys;
DROP TRIGGER keep_revoked ON api_keys;
DROP TRIGGER guard_counters ON api_keys;

ALTER TABLE api_keys DROP CONSTRAINT api_keys_fast_hash_sha256;
ALTER TABLE api_keys DROP COLUMN key_fast_hash;
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

DROP INDEX rate_limits_month_of_user;
ALTER TABLE rate_limits DROP COLUMN user_id;
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

-- Counts one request of a key if it is within the limits that its user is entitled to, per minute (of the key) and per
-- calendar month, UTC (of the user), and says so. Returns one row: allowed, how many more requests the tighter window
-- has room for, when that window ends, and the reason: ok; rate, too many this minute; quota, the month is used up;
-- key, the key is unknown, revoked or expired or its user is not active, and reset_at is NULL. A refused request is not
-- counted.
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
    SELECT
        u.id,
        coalesce(e.rate_limit_per_minute, free.rate_limit_per_minute),
        CASE WHEN e.user_id IS NULL THEN free.monthly_request_limit ELSE e.monthly_request_limit END
    INTO owner, per_minute, per_month
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN entitlements AS e ON e.user_id = u.id
    INNER JOIN plans AS free ON free.tier = 'free'
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

-- Triggers fire in the order of their names: the guard comes before set_updated_at compares the row.
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, last_used_at ON api_keys
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_api_key_counters();

CREATE TRIGGER keep_revoked BEFORE UPDATE OF revoked_at ON api_keys
FOR EACH ROW WHEN (old.revoked_at IS NOT NULL AND new.revoked_at IS DISTINCT FROM old.revoked_at)
EXECUTE FUNCTION keep_api_key_revoked();

-- Being used is no change of the key: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON api_keys
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.last_used_at IS NOT DISTINCT FROM new.last_used_at
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the fold moves for every key that was used: it must not pay for an audit.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, name, environment, key_prefix, key_hash, expires_at, revoked_at, revoked_reason, created_at
ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'last_used_at');

DROP FUNCTION take_rate_limit_permits;

DROP FUNCTION take_rate_limit;

DROP FUNCTION recorded_requests;

DROP FUNCTION number_rate_limit_permits;

DROP FUNCTION lease_rate_limit;

DROP FUNCTION last_rate_limit_permit;

DROP FUNCTION is_rate_limit_permit_taken;

DROP TABLE rate_limit_permits;
