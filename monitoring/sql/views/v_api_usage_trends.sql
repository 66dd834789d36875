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
    LEFT JOIN traffic_user_days AS known
        ON
            unfolded.day = known.day
            AND unfolded.user_id = known.user_id
            -- Says nothing new; without it the planner reads the days of years.
            AND known.day >= (now() AT TIME ZONE 'UTC')::date - 29
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
