-- What each key was used for. Exact: folded requests, plus from api_usage what is not folded yet; usage_count and
-- last_used_at include what waits in the counting queue.
CREATE VIEW v_api_key_usage_summary AS
WITH day AS (
    SELECT
        counted.api_key_id,
        sum(counted.requests)::bigint AS requests
    FROM (
        SELECT
            h.api_key_id,
            h.requests
        FROM traffic_hours AS h
        WHERE h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC') AND h.api_key_id IS NOT NULL
        UNION ALL
        SELECT
            r.api_key_id,
            1 AS requests
        FROM recent_requests AS r
        WHERE r.api_key_id IS NOT NULL
    ) AS counted
    GROUP BY counted.api_key_id
),

month AS (
    SELECT
        counted.api_key_id,
        sum(counted.requests)::bigint AS requests
    FROM (
        SELECT
            m.api_key_id,
            m.requests
        FROM traffic_key_months AS m
        WHERE m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        UNION ALL
        SELECT
            u.api_key_id,
            1 AS requests
        FROM api_usage AS u
        WHERE
            u.id > (SELECT p.folded_to FROM traffic_progress AS p)
            -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
            AND u.id <= 9223372036854775807
            AND u.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
            AND u.created_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
            AND u.api_key_id IS NOT NULL
    ) AS counted
    GROUP BY counted.api_key_id
),

queued AS (
    SELECT
        d.api_key_id,
        sum(d.total_requests)::bigint AS requests,
        max(d.last_request_at) AS last_request_at
    FROM api_usage_deltas AS d
    WHERE d.api_key_id IS NOT NULL
    GROUP BY d.api_key_id
)

SELECT
    k.id AS api_key_id,
    k.user_id,
    k.key_prefix,
    k.environment,
    coalesce(day.requests, 0) AS requests_last_24h,
    coalesce(month.requests, 0) AS requests_this_month,
    k.usage_count + coalesce(queued.requests, 0) AS usage_count,
    greatest(k.last_used_at, queued.last_request_at) AS last_used_at,
    k.revoked_at,
    k.expires_at,
    k.name
FROM api_keys AS k
LEFT JOIN day ON k.id = day.api_key_id
LEFT JOIN month ON k.id = month.api_key_id
LEFT JOIN queued ON k.id = queued.api_key_id;
