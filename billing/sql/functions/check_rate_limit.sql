-- Counts one request of a key if it is within the limits that its user is entitled to, per minute (of the key) and per
-- calendar month, UTC (of the user), and says so. Returns one row: allowed, how many more requests the tighter window
-- has room for, when that window ends, and the reason: ok; rate, too many this minute; quota, the month is used up;
-- key, the key is unknown, revoked or expired or its user is not active, and reset_at is NULL. A refused request is not
-- counted.
--
-- Callers of one user queue behind each other until their transactions end, so that together they never pass the
-- limit: call it on its own. The month's count starts from the recorded usage and never falls behind it.
CREATE FUNCTION check_rate_limit(api_key_id uuid)
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
