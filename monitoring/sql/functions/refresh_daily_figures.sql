-- Recounts the days from `since` (UTC) to today; the number of days. A day whose usage was dropped keeps its count.
CREATE FUNCTION refresh_daily_figures(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET datestyle = 'ISO'
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    first_moment CONSTANT timestamptz := since::timestamp AT TIME ZONE 'UTC';
    written bigint;
BEGIN
    IF since IS NULL OR since > today THEN
        RAISE EXCEPTION 'refresh_daily_figures: since must be a day up to today, not %', coalesce(since::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH days AS (
        SELECT g.day::date AS day FROM generate_series(since::timestamp, today::timestamp, interval '1 day') AS g (day)
    ),
    signups AS (
        SELECT (u.created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS users
        FROM users AS u WHERE u.created_at >= first_moment GROUP BY 1
    ),
    paying AS (
        SELECT d.day, sum(d.customers) AS customers FROM daily_mrr AS d WHERE d.day >= since GROUP BY d.day
    ),
    churned AS (
        SELECT (m.occurred_at AT TIME ZONE 'UTC')::date AS day, count(*) AS customers
        FROM mrr_movements AS m WHERE m.kind = 'churn' AND m.occurred_at >= first_moment GROUP BY 1
    ),
    usage_by_user AS (
        SELECT
            (a.created_at AT TIME ZONE 'UTC')::date AS day, a.user_id, count(*) AS requests,
            count(*) FILTER (WHERE a.status_code >= 400) AS failed, sum(a.response_time_ms) AS time_ms
        FROM api_usage AS a WHERE a.created_at >= first_moment GROUP BY 1, a.user_id
    ),
    usage AS (
        SELECT
            u.day, sum(u.requests) AS requests, sum(u.failed) AS failed, sum(u.time_ms) AS time_ms,
            count(*) AS users
        FROM usage_by_user AS u GROUP BY u.day
    )
    INSERT INTO daily_figures AS f (
        day, total_users, new_users, paying_customers, churned_customers, requests, failed_requests, active_users,
        total_response_time_ms
    )
    SELECT
        d.day,
        (SELECT count(*) FROM users AS u WHERE u.created_at < first_moment)
        + (sum(coalesce(s.users, 0)) OVER (ORDER BY d.day))::bigint,
        coalesce(s.users, 0), coalesce(p.customers, 0), coalesce(c.customers, 0), coalesce(a.requests, 0),
        coalesce(a.failed, 0), coalesce(a.users, 0), coalesce(a.time_ms, 0)
    FROM days AS d
    LEFT JOIN signups AS s USING (day)
    LEFT JOIN paying AS p USING (day)
    LEFT JOIN churned AS c USING (day)
    LEFT JOIN usage AS a USING (day)
    ON CONFLICT (day) DO UPDATE SET
        total_users = excluded.total_users,
        new_users = excluded.new_users,
        paying_customers = excluded.paying_customers,
        churned_customers = excluded.churned_customers,
        requests = CASE WHEN excluded.requests > 0 THEN excluded.requests ELSE f.requests END,
        failed_requests = CASE WHEN excluded.requests > 0 THEN excluded.failed_requests ELSE f.failed_requests END,
        active_users = CASE WHEN excluded.requests > 0 THEN excluded.active_users ELSE f.active_users END,
        total_response_time_ms = CASE
            WHEN excluded.requests > 0 THEN excluded.total_response_time_ms ELSE f.total_response_time_ms
        END,
        taken_at = now();
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
