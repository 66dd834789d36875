-- The last hour, and the first and last part of 24 hours, whatever order the rows lie in.
CREATE INDEX api_usage_created_at ON api_usage (created_at);

-- How far fold_traffic() has come: one row. Requests up to folded_to are in the traffic tables, later ones are read
-- from api_usage. seen_id is the next goal; seen_writers are the transactions that may still add requests up to it.
CREATE TABLE traffic_progress (
    is_only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT traffic_progress_one_row CHECK (is_only_row),
    folded_to bigint NOT NULL DEFAULT 0,
    folded_at timestamptz,
    seen_id bigint NOT NULL DEFAULT 0,
    seen_writers text[] NOT NULL DEFAULT '{}', -- noqa: LT01
    CONSTRAINT traffic_progress_goal_ahead CHECK (seen_id >= folded_to)
);

INSERT INTO traffic_progress DEFAULT VALUES;

-- Requests of each day (UTC). Outlives the partitions it was folded from.
CREATE TABLE traffic_days (
    day date CONSTRAINT traffic_days_pkey PRIMARY KEY,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    active_users bigint NOT NULL
)
WITH (fillfactor = 50);

-- Who was active on a day (UTC), so that a day's users are counted once however often it is folded. Kept for 95 days.
CREATE TABLE traffic_user_days (
    day date NOT NULL,
    user_id uuid NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    CONSTRAINT traffic_user_days_pkey PRIMARY KEY (day, user_id)
)
WITH (fillfactor = 80);

-- Requests of each user and key in each hour (UTC) of the last two days.
CREATE TABLE traffic_hours (
    hour timestamptz NOT NULL,
    user_id uuid NOT NULL,
    api_key_id uuid,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL
)
WITH (fillfactor = 80);

CREATE UNIQUE INDEX traffic_hours_key ON traffic_hours (hour, user_id, api_key_id) NULLS NOT DISTINCT;
CREATE INDEX traffic_hours_api_key ON traffic_hours (api_key_id, hour) INCLUDE (requests);

-- Requests of each key in each calendar month (UTC).
CREATE TABLE traffic_key_months (
    month date NOT NULL,
    api_key_id uuid NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    CONSTRAINT traffic_key_months_pkey PRIMARY KEY (month, api_key_id)
)
WITH (fillfactor = 80);

-- Response times of each endpoint and hour (UTC) as a histogram. A bucket is exact up to 20 ms and 10 % wide above it;
-- its sum gives the mean of what is in it, so a percentile read from it is a few percent off at most. Kept for 15 days.
CREATE TABLE traffic_latency_hours (
    hour timestamptz NOT NULL,
    endpoint text NOT NULL,
    method text NOT NULL,
    bucket smallint NOT NULL,
    requests bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    max_response_time_ms int NOT NULL,
    CONSTRAINT traffic_latency_hours_pkey PRIMARY KEY (hour, endpoint, method, bucket)
)
WITH (fillfactor = 80);

-- Adds the requests with after_id < id <= to_id to the traffic tables; returns how many. For fold_traffic() only, which
-- sees to it that no request is added twice or missed.
CREATE FUNCTION fold_traffic_between(after_id bigint, to_id bigint) RETURNS bigint
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    WITH batch AS MATERIALIZED (
        SELECT
            u.user_id,
            u.api_key_id,
            u.endpoint,
            u.method,
            u.response_time_ms,
            (u.status_code >= 400)::int AS failed,
            date_trunc('hour', u.created_at, 'UTC') AS hour,
            (u.created_at AT TIME ZONE 'UTC')::date AS day
        FROM api_usage AS u
        WHERE u.id > after_id AND u.id <= to_id
    ),
    latency AS (
        INSERT INTO traffic_latency_hours AS t (
            hour, endpoint, method, bucket, requests, total_response_time_ms, max_response_time_ms
        )
        SELECT
            b.hour,
            b.endpoint,
            b.method,
            CASE
                WHEN b.response_time_ms <= 20 THEN b.response_time_ms
                ELSE 20 + ceil(ln(b.response_time_ms / 20.0::float8) / ln(1.1::float8))
            END,
            count(*),
            sum(b.response_time_ms),
            max(b.response_time_ms)
        FROM batch AS b
        WHERE b.hour >= now() - interval '15 days'
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (hour, endpoint, method, bucket) DO UPDATE
        SET
            requests = t.requests + excluded.requests,
            total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
            max_response_time_ms = greatest(t.max_response_time_ms, excluded.max_response_time_ms)
    ),
    hours AS (
        INSERT INTO traffic_hours AS t (hour, user_id, api_key_id, requests, failed_requests)
        SELECT b.hour, b.user_id, b.api_key_id, count(*), sum(b.failed)
        FROM batch AS b
        WHERE b.hour >= now() - interval '2 days'
        GROUP BY 1, 2, 3
        ON CONFLICT (hour, user_id, api_key_id) DO UPDATE
        SET requests = t.requests + excluded.requests, failed_requests = t.failed_requests + excluded.failed_requests
    ),
    key_months AS (
        INSERT INTO traffic_key_months AS t (month, api_key_id, requests, failed_requests)
        SELECT date_trunc('month', b.day)::date, b.api_key_id, count(*), sum(b.failed)
        FROM batch AS b
        WHERE b.api_key_id IS NOT NULL
        GROUP BY 1, 2
        ON CONFLICT (month, api_key_id) DO UPDATE
        SET requests = t.requests + excluded.requests, failed_requests = t.failed_requests + excluded.failed_requests
    ),
    batch_user_days AS MATERIALIZED (
        SELECT b.day, b.user_id, count(*) AS requests, sum(b.failed) AS failed, sum(b.response_time_ms) AS total_ms
        FROM batch AS b
        GROUP BY 1, 2
    ),
    user_days AS (
        INSERT INTO traffic_user_days AS t (day, user_id, requests, failed_requests)
        SELECT b.day, b.user_id, b.requests, b.failed
        FROM batch_user_days AS b
        ORDER BY 1, 2
        ON CONFLICT (day, user_id) DO UPDATE
        SET requests = t.requests + excluded.requests, failed_requests = t.failed_requests + excluded.failed_requests
        RETURNING t.day, t.user_id, t.requests
    ),
    days AS (
        INSERT INTO traffic_days AS t (day, requests, failed_requests, total_response_time_ms, active_users)
        SELECT
            b.day,
            sum(b.requests),
            sum(b.failed),
            sum(b.total_ms),
            -- A user's day that holds no more than this batch brought is new.
            count(*) FILTER (WHERE d.requests = b.requests)
        FROM batch_user_days AS b
        INNER JOIN user_days AS d ON d.day = b.day AND d.user_id = b.user_id
        GROUP BY b.day
        ON CONFLICT (day) DO UPDATE
        SET
            requests = t.requests + excluded.requests,
            failed_requests = t.failed_requests + excluded.failed_requests,
            total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
            active_users = t.active_users + excluded.active_users
    )
    SELECT count(*) FROM batch
$$;

-- Folds requests of api_usage into the traffic tables that the monitoring views read; returns how many, at most
-- `max_requests`. To be called every minute. Each request is folded exactly once, whenever it was made, as what counts
-- is its id and not its time; what is not folded yet, the views read from api_usage. A second caller waits.
--
-- An id is handed out before its row is committed. So the goal is the last id together with the transactions that held
-- a writer's lock on api_usage when it was read: once those have ended, no row up to the goal can appear any more.
CREATE FUNCTION fold_traffic(max_requests bigint DEFAULT 500000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    progress traffic_progress;
    goal bigint;
    folded bigint := 0;
BEGIN
    IF max_requests IS NULL OR max_requests < 1 THEN
        RAISE EXCEPTION 'fold_traffic: max_requests must be at least 1, not %', coalesce(max_requests::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'fold_traffic: needs read committed, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state',
                  DETAIL = 'An older snapshot would miss requests that were committed since.';
    END IF;
    SELECT * INTO STRICT progress FROM traffic_progress FOR UPDATE;

    IF progress.seen_id = progress.folded_to THEN
        -- The id first: whoever took one up to it holds its lock by now, or has ended.
        progress.seen_id := greatest(
            progress.folded_to, (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM api_usage_id_seq AS s)
        );
        progress.seen_writers := coalesce((
            SELECT array_agg(DISTINCT l.virtualtransaction)
            FROM pg_locks AS l
            WHERE l.mode = 'RowExclusiveLock'
                AND l.locktype = 'relation'
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                AND l.relation IN (SELECT t.relid FROM pg_partition_tree('api_usage') AS t)
                AND l.pid IS DISTINCT FROM pg_backend_pid()
        ), '{}');
    END IF;

    IF progress.seen_id > progress.folded_to
        AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    THEN
        goal := least(progress.seen_id, progress.folded_to + max_requests);
        folded := fold_traffic_between(progress.folded_to, goal);
        progress.folded_to := goal;
        progress.folded_at := clock_timestamp();
        DELETE FROM traffic_hours WHERE hour < now() - interval '2 days';
        DELETE FROM traffic_latency_hours WHERE hour < now() - interval '15 days';
        DELETE FROM traffic_user_days WHERE day < (now() AT TIME ZONE 'UTC')::date - 95;
    END IF;

    UPDATE traffic_progress
    SET
        folded_to = progress.folded_to,
        folded_at = progress.folded_at,
        seen_id = progress.seen_id,
        seen_writers = progress.seen_writers;
    RETURN folded;
END
$$;

REVOKE EXECUTE ON FUNCTION fold_traffic(bigint) FROM public;

-- Requests of the last 24 hours that the whole hours of the traffic tables do not hold: those of the first, partial
-- hour and those not folded yet. The two parts exclude each other. What a writer dated ahead of time is not of the last
-- 24 hours; once folded it is told by its hour, so it counts from the beginning of that hour.
--
-- The upper bound on id says nothing new; without it the planner expects a third of all requests and reads all of them.
CREATE VIEW recent_requests AS
SELECT
    u.user_id,
    u.api_key_id,
    u.endpoint,
    u.method,
    u.status_code,
    u.response_time_ms,
    u.created_at
FROM api_usage AS u
WHERE
    u.created_at >= now() - interval '24 hours'
    AND u.created_at < date_trunc('hour', now() - interval '23 hours', 'UTC')
    AND u.id <= (SELECT p.folded_to FROM traffic_progress AS p)
UNION ALL
SELECT
    u.user_id,
    u.api_key_id,
    u.endpoint,
    u.method,
    u.status_code,
    u.response_time_ms,
    u.created_at
FROM api_usage AS u
WHERE
    u.id > (SELECT p.folded_to FROM traffic_progress AS p)
    AND u.id <= 9223372036854775807
    AND u.created_at >= now() - interval '24 hours'
    AND u.created_at <= statement_timestamp();

-- The 100 customers with the most requests of the last 24 hours, and how many of them came in the last hour: growth or
-- abuse. Exact: folded hours, plus from api_usage the first, partial hour and what is not folded yet.
--
-- Added up as float8, which holds whole numbers exactly to 2^53 and takes half the time of the numeric that bigints are
-- added up in; and the hour that the day begins in is computed once and not for every row.
CREATE VIEW v_high_volume_users AS
WITH day AS (
    SELECT
        counted.user_id,
        sum(counted.requests)::bigint AS requests,
        sum(counted.failed)::bigint AS failed
    FROM (
        SELECT
            h.user_id,
            h.requests::float8 AS requests,
            h.failed_requests::float8 AS failed
        FROM traffic_hours AS h
        WHERE h.hour >= (SELECT date_trunc('hour', now() - interval '23 hours', 'UTC')) AND h.hour <= now()
        UNION ALL
        SELECT
            r.user_id,
            1::float8 AS requests,
            (r.status_code >= 400)::int::float8 AS failed
        FROM recent_requests AS r
    ) AS counted
    GROUP BY counted.user_id
    ORDER BY requests DESC
    LIMIT 100
)

SELECT
    day.user_id,
    u.email,
    s.tier,
    (
        SELECT count(*)
        FROM api_usage AS r
        WHERE
            r.user_id = day.user_id
            AND r.created_at >= now() - interval '1 hour'
            AND r.created_at <= statement_timestamp()
    ) AS requests_last_hour,
    day.requests AS requests_last_24h,
    day.failed AS failed_last_24h,
    u.status AS user_status
FROM day
LEFT JOIN users AS u ON day.user_id = u.id
LEFT JOIN subscriptions AS s
    ON
        day.user_id = s.user_id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        AND NOT s.is_duplicate
ORDER BY requests_last_hour DESC, requests_last_24h DESC;

-- Who failed three times or more at one endpoint within the last hour. Failed is a status of 400 and above.
CREATE VIEW v_repeated_failures AS
SELECT
    f.user_id,
    u.email,
    f.endpoint,
    f.failures AS failures_last_hour,
    f.last_failure_at,
    f.last_status_code,
    concat_ws(' ', f.user_id, f.endpoint) AS id
FROM (
    SELECT
        r.user_id,
        r.endpoint,
        count(*) AS failures,
        max(r.created_at) AS last_failure_at,
        (array_agg(r.status_code ORDER BY r.created_at DESC, r.id DESC))[1] AS last_status_code
    FROM api_usage AS r
    WHERE
        r.status_code >= 400
        AND r.created_at >= now() - interval '1 hour'
        AND r.created_at <= statement_timestamp()
    GROUP BY r.user_id, r.endpoint
    HAVING count(*) >= 3
) AS f
LEFT JOIN users AS u ON f.user_id = u.id;

-- Response times of each endpoint over the last 24 hours, slowest first. A percentile is the time that this share of
-- the requests took at most. Folded hours contribute the means of histogram buckets that are at most 10 % wide, the
-- rest its exact times: percentiles are a few percent off at worst; counts, mean and maximum are exact: float8, in
-- which they are added up because numeric takes longer, holds whole numbers exactly to 2^53.
CREATE VIEW v_slow_endpoints AS
WITH times AS (
    SELECT
        t.endpoint,
        t.method,
        t.ms,
        sum(t.requests) AS requests,
        sum(t.total_ms) AS total_ms,
        max(t.max_ms) AS max_ms
    FROM (
        SELECT
            h.endpoint,
            h.method,
            round((sum(h.total_response_time_ms::float8) / sum(h.requests::float8))::numeric)::int AS ms,
            sum(h.requests::float8) AS requests,
            sum(h.total_response_time_ms::float8) AS total_ms,
            max(h.max_response_time_ms) AS max_ms
        FROM traffic_latency_hours AS h
        WHERE h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC') AND h.hour <= now()
        GROUP BY h.endpoint, h.method, h.bucket
        UNION ALL
        SELECT
            r.endpoint,
            r.method,
            r.response_time_ms AS ms,
            1::float8 AS requests,
            r.response_time_ms::float8 AS total_ms,
            r.response_time_ms AS max_ms
        FROM recent_requests AS r
    ) AS t
    GROUP BY t.endpoint, t.method, t.ms
),

ranked AS (
    SELECT
        times.*,
        sum(times.requests) OVER (PARTITION BY times.endpoint, times.method ORDER BY times.ms) AS not_slower,
        sum(times.requests) OVER (PARTITION BY times.endpoint, times.method) AS all_requests
    FROM times
)

SELECT
    ranked.endpoint,
    ranked.method,
    sum(ranked.requests)::bigint AS requests,
    round(sum(ranked.total_ms)::numeric / sum(ranked.requests)::numeric, 1) AS avg_ms,
    min(ranked.ms) FILTER (WHERE ranked.not_slower >= 0.95 * ranked.all_requests) AS p95_ms,
    min(ranked.ms) FILTER (WHERE ranked.not_slower >= 0.99 * ranked.all_requests) AS p99_ms,
    max(ranked.max_ms) AS max_ms,
    concat_ws(' ', ranked.method, ranked.endpoint) AS id
FROM ranked
GROUP BY ranked.endpoint, ranked.method
ORDER BY p95_ms DESC, requests DESC;

-- The last 30 days (UTC), today included, with a row also for a day without requests, whose shares are NULL. Exact:
-- folded days plus what is not folded yet; a user who appears in both is counted once.
CREATE VIEW v_api_usage_trends AS
WITH unfolded AS (
    SELECT
        (u.created_at AT TIME ZONE 'UTC')::date AS day,
        u.user_id,
        count(*) AS requests,
        count(*) FILTER (WHERE u.status_code >= 400) AS failed_requests,
        sum(u.response_time_ms) AS total_response_time_ms
    FROM api_usage AS u
    WHERE
        u.id > (SELECT p.folded_to FROM traffic_progress AS p)
        -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
        AND u.id <= 9223372036854775807
        AND u.created_at >= (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '29 days') AT TIME ZONE 'UTC'
    GROUP BY (u.created_at AT TIME ZONE 'UTC')::date, u.user_id
),

counted AS (
    SELECT
        d.day,
        d.requests,
        d.failed_requests,
        d.total_response_time_ms,
        d.active_users
    FROM traffic_days AS d
    WHERE d.day >= (now() AT TIME ZONE 'UTC')::date - 29
    UNION ALL
    SELECT
        unfolded.day,
        sum(unfolded.requests) AS requests,
        sum(unfolded.failed_requests) AS failed_requests,
        sum(unfolded.total_response_time_ms) AS total_response_time_ms,
        count(*) FILTER (WHERE known.user_id IS NULL) AS active_users
    FROM unfolded
    LEFT JOIN traffic_user_days AS known ON unfolded.day = known.day AND unfolded.user_id = known.user_id
    GROUP BY unfolded.day
),

calendar AS (
    SELECT generate_series(
        date_trunc('day', now() AT TIME ZONE 'UTC') - interval '29 days',
        date_trunc('day', now() AT TIME ZONE 'UTC'),
        interval '1 day'
    )::date AS day
)

SELECT
    calendar.day,
    coalesce(sum(counted.requests), 0)::bigint AS requests,
    coalesce(sum(counted.failed_requests), 0)::bigint AS failed_requests,
    round(100.0 * sum(counted.failed_requests) / sum(counted.requests), 2) AS error_percent,
    round(sum(counted.total_response_time_ms) / sum(counted.requests), 1) AS avg_ms,
    coalesce(sum(counted.active_users), 0)::bigint AS active_users
FROM calendar
LEFT JOIN counted ON calendar.day = counted.day
GROUP BY calendar.day
ORDER BY calendar.day;

-- What the folded tables do not have of each key yet: requests of this month (UTC) that are not in the traffic tables,
-- and those of any month that wait in the counting queue.
CREATE VIEW fresh_key_usage AS
SELECT
    f.api_key_id,
    sum(f.requests)::bigint AS requests_this_month,
    sum(f.queued)::bigint AS queued_requests,
    max(f.last_request_at) AS last_request_at
FROM (
    SELECT
        u.api_key_id,
        1 AS requests,
        0 AS queued,
        NULL::timestamptz AS last_request_at
    FROM api_usage AS u
    WHERE
        u.id > (SELECT p.folded_to FROM traffic_progress AS p)
        -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
        AND u.id <= 9223372036854775807
        AND u.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        AND u.created_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
    UNION ALL
    SELECT
        d.api_key_id,
        0 AS requests,
        d.total_requests AS queued,
        d.last_request_at
    FROM api_usage_deltas AS d
) AS f
WHERE f.api_key_id IS NOT NULL
GROUP BY f.api_key_id;

-- What each key was used for. Exact: folded requests, plus from api_usage what is not folded yet; usage_count and
-- last_used_at include what waits in the counting queue.
--
-- What a key had in 24 hours is looked up by key, after the LIMIT of a page, which takes that this view has no WITH:
-- all of a hundred thousand keys at once take a second or two, fifty of them, or one customer's, a fraction.
CREATE VIEW v_api_key_usage_summary AS
SELECT
    k.id AS api_key_id,
    k.user_id,
    k.key_prefix,
    k.environment,
    (
        SELECT coalesce(sum(h.requests), 0)::bigint
        FROM traffic_hours AS h
        WHERE
            h.api_key_id = k.id
            AND h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC')
            AND h.hour <= now()
    ) + (
        SELECT count(*)
        FROM recent_requests AS r
        WHERE r.api_key_id = k.id
    ) AS requests_last_24h,
    coalesce(folded.requests, 0) + coalesce(fresh.requests_this_month, 0) AS requests_this_month,
    k.usage_count + coalesce(fresh.queued_requests, 0) AS usage_count,
    greatest(k.last_used_at, fresh.last_request_at) AS last_used_at,
    k.revoked_at,
    k.expires_at,
    k.name
FROM api_keys AS k
LEFT JOIN traffic_key_months AS folded
    ON k.id = folded.api_key_id AND folded.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
LEFT JOIN fresh_key_usage AS fresh ON k.id = fresh.api_key_id;
