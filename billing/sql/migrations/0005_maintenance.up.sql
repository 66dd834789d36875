-- Drops every partition of api_usage or audit_log that lies wholly before the cutoff, by the bounds in the catalogue,
-- and finishes detaches that were left half done. Returns how many were dropped.
--
-- Detaching needs the parent to itself for a moment. All locks are taken together before anything is done; a request
-- that waits stalls every reader behind it, so each attempt gives up after 100 ms, releases all and lets them pass.
CREATE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 20;
    attempt int := 0;
    half_detached CONSTANT regclass[] := ARRAY(
        SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = parent AND i.inhdetachpending
    );
    old regclass[];
    partition regclass;
BEGIN
    SELECT coalesce(array_agg(p.partition ORDER BY p.opens), '{}') INTO old
    FROM monthly_partitions(parent) AS p
    WHERE p.closes <= cutoff;
    IF old = '{}' AND half_detached = '{}' THEN
        RETURN 0;
    END IF;

    LOOP
        BEGIN
            FOREACH partition IN ARRAY half_detached LOOP
                EXECUTE format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, partition);
            END LOOP;
            IF old <> '{}' THEN
                EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent);
                FOR partition IN
                    SELECT t.partdefid::regclass
                    FROM pg_partitioned_table AS t
                    WHERE t.partrelid = parent AND t.partdefid <> 0
                    UNION ALL
                    SELECT o.relation FROM unnest(old) AS o (relation)
                LOOP
                    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', partition);
                END LOOP;
            END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            attempt := attempt + 1;
            IF attempt = max_attempts THEN
                RAISE EXCEPTION '%: gave up after % attempts to lock it', parent, attempt
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction reads or writes it; try again later.';
            END IF;
            PERFORM pg_sleep(least(0.05 * attempt, 0.5) * (0.5 + random()));
        END;
    END LOOP;

    FOREACH partition IN ARRAY old LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    RETURN cardinality(old);
END
$$;

-- Drops the partitions of api_usage whose every row is more than `days` days old; returns how many. Totals, counters
-- and known request ids outlive them. Rows in the default partition wait until they have a partition.
CREATE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_old_api_usage: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    -- No date lies millions of days back.
    RETURN drop_partitions_before('api_usage', now() - least(days, 100000) * interval '24 hours');
END
$$;

-- Removes audit rows that are more than `days` days old, whole months by dropping their partition; returns how many.
CREATE FUNCTION cleanup_audit_log(days int DEFAULT 365) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff timestamptz;
    dropped bigint;
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_audit_log: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- No date lies millions of days back.
    cutoff := now() - least(days, 100000) * interval '24 hours';
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));

    SELECT count(*) INTO dropped
    FROM audit_log AS a
    WHERE a.tableoid IN (SELECT p.partition FROM monthly_partitions('audit_log') AS p WHERE p.closes <= cutoff);
    PERFORM set_config('app.audit_retention', 'on', true);
    DELETE FROM audit_log AS a
    WHERE a.occurred_at < cutoff
        AND a.tableoid NOT IN (SELECT p.partition FROM monthly_partitions('audit_log') AS p WHERE p.closes <= cutoff);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('app.audit_retention', '', true);
    PERFORM drop_partitions_before('audit_log', cutoff);
    RETURN dropped + deleted;
END
$$;

-- Deletes events that were processed or ignored more than `days` days ago; returns how many. Failed and dead ones stay.
CREATE FUNCTION cleanup_webhook_events(days int DEFAULT 30) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_webhook_events: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_webhook_events', 0));

    -- No date lies millions of days back.
    DELETE FROM stripe_webhook_events AS e
    WHERE e.status IN ('processed', 'ignored')
        AND coalesce(e.processed_at, e.received_at) < now() - least(days, 100000) * interval '24 hours';
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Deletes the windows that have ended; returns how many.
CREATE FUNCTION cleanup_rate_limits() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_rate_limits', 0));
    DELETE FROM rate_limits AS r WHERE r.expires_at <= now();
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Forgets request ids that were recorded more than `days` days ago; returns how many. A caller that sends one of them
-- again is counted again, so this is kept well longer than api_usage itself.
CREATE FUNCTION cleanup_api_usage_request_ids(days int DEFAULT 400) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_api_usage_request_ids: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_api_usage_request_ids', 0));
    -- No date lies millions of days back.
    DELETE FROM api_usage_request_ids AS r WHERE r.recorded_at < now() - least(days, 100000) * interval '24 hours';
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Refreshes the planner's statistics of api_usage and audit_log, whose parents autovacuum never analyses; returns how
-- many tables. A table that somebody has locked is left for the next time.
CREATE FUNCTION analyze_partitioned_tables() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    -- Not while partitions are made or dropped: that needs locks which this one holds to the end of the transaction.
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    ANALYZE (SKIP_LOCKED) api_usage, audit_log;
    RETURN 2;
END
$$;

-- Subscriptions that are active or trialing although their period has ended: an event from Stripe is missing. The one
-- that is longest overdue comes first.
CREATE FUNCTION find_stale_subscriptions()
RETURNS TABLE (
    subscription_id uuid,
    user_id uuid,
    email text,
    tier text,
    status text,
    current_period_end timestamptz,
    days_overdue numeric,
    stripe_subscription_id text
)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        s.id,
        s.user_id,
        u.email,
        s.tier,
        s.status,
        s.current_period_end,
        round(extract(epoch FROM now() - s.current_period_end) / 86400, 2),
        s.stripe_subscription_id
    FROM subscriptions AS s
    INNER JOIN users AS u ON u.id = s.user_id
    WHERE s.status IN ('trialing', 'active') AND s.current_period_end < now()
    ORDER BY s.current_period_end, s.id
$$;

-- Runs each statement, which returns one number, under its own savepoint and reports it: a failing task neither stops
-- nor undoes the others. A statement timeout or a cancellation still ends them all.
CREATE FUNCTION run_maintenance_tasks(tasks text[], statements text[])
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    started timestamptz;
BEGIN
    FOR n IN 1..cardinality(tasks) LOOP
        task := tasks[n];
        started := clock_timestamp();
        BEGIN
            EXECUTE statements[n] INTO rows_affected;
            status := 'succeeded';
            error := NULL;
        EXCEPTION WHEN OTHERS THEN
            status := 'failed';
            rows_affected := NULL;
            error := SQLERRM;
        END;
        duration_ms := extract(epoch FROM clock_timestamp() - started) * 1000;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Runs every daily task and returns one row for each. The partitions come last, as their locks are held until the end
-- of the transaction and would stall readers behind the other tasks.
CREATE FUNCTION run_daily_maintenance()
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('run_daily_maintenance', 0));
    -- Before a task locks these tables, or it and who makes or drops partitions at the same time wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    RETURN QUERY
    SELECT t.*
    FROM run_maintenance_tasks(
        ARRAY[
            'roll_up_usage', 'sync_subscription_usage', 'fix_orphaned_stripe_customers', 'cleanup_webhook_events',
            'cleanup_rate_limits', 'cleanup_api_usage_request_ids', 'analyze_partitioned_tables',
            'create_api_usage_partitions', 'create_audit_log_partitions', 'cleanup_old_api_usage'
        ],
        ARRAY[
            'SELECT roll_up_usage()', 'SELECT sync_subscription_usage()',
            'SELECT count(*) FROM fix_orphaned_stripe_customers()', 'SELECT cleanup_webhook_events()',
            'SELECT cleanup_rate_limits()', 'SELECT cleanup_api_usage_request_ids()',
            'SELECT analyze_partitioned_tables()', 'SELECT create_api_usage_partitions()',
            'SELECT create_audit_log_partitions()', 'SELECT cleanup_old_api_usage()'
        ]
    ) AS t;
END
$$;

-- Runs the weekly deep cleanup and returns one row for each task, as run_daily_maintenance() does.
CREATE FUNCTION run_weekly_maintenance()
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('run_weekly_maintenance', 0));
    -- Before a task locks these tables, or it and who makes or drops partitions at the same time wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    RETURN QUERY
    SELECT t.*
    FROM run_maintenance_tasks(
        ARRAY['cleanup_webhook_events', 'cleanup_api_usage_request_ids', 'analyze_partitioned_tables', 'cleanup_audit_log'],
        ARRAY[
            'SELECT cleanup_webhook_events()', 'SELECT cleanup_api_usage_request_ids()',
            'SELECT analyze_partitioned_tables()', 'SELECT cleanup_audit_log()'
        ]
    ) AS t;
END
$$;

-- Records one request of a key and returns true; false when its request id was recorded for the same user before, also
-- when that row's month has been dropped since. An unknown key is an error; a revoked one is recorded, as the request
-- was made.
CREATE FUNCTION record_api_usage(
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

-- Counts one request of a key if it is within the plan's limits per minute (of the key) and per calendar month, UTC (of
-- the user), and says so. Returns one row: allowed, how many more requests the tighter window has room for, when that
-- window ends, and the reason: ok; rate, too many this minute; quota, the month is used up; key, the key is unknown,
-- revoked or expired or its user is not active, and reset_at is NULL. A refused request is not counted.
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
    SELECT u.id, p.rate_limit_per_minute, CASE WHEN s.id IS NULL THEN p.monthly_request_limit ELSE s.monthly_request_limit END
    INTO owner, per_minute, per_month
    FROM api_keys AS k
    INNER JOIN users AS u ON u.id = k.user_id
    LEFT JOIN subscriptions AS s
        ON s.user_id = u.id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        AND NOT s.is_duplicate
    INNER JOIN plans AS p ON p.tier = coalesce(s.tier, 'free')
    WHERE k.id = key
        AND u.status = 'active'
        AND k.revoked_at IS NULL
        AND coalesce(k.expires_at > moment, true);
    IF NOT FOUND THEN
        RETURN QUERY SELECT false, 0, NULL::timestamptz, 'key';
        RETURN;
    END IF;

    PERFORM pg_advisory_xact_lock(hashtextextended('check_rate_limit ' || owner, 0));
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
