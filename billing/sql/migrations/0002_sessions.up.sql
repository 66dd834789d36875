-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

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
        last_error = error,
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

    INSERT INTO stripe_webhook_events AS e (stripe_event_id, status, attempts, processing_started_at)
    VALUES (event_id, 'processing', 1, clock_timestamp())
    ON CONFLICT (stripe_event_id) DO UPDATE
    SET
        status = CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 'dead' ELSE 'processing' END,
        attempts = e.attempts + CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 0 ELSE 1 END,
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
