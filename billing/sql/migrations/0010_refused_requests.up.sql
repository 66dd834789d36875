-- Fills the counts of requests answered 429 and 5xx, of the months whose rows are still there; may be run again. Only
-- `QUOTA_COUNTS=served` needs them.
LOCK TABLE api_usage IN SHARE ROW EXCLUSIVE MODE;

SELECT roll_up_usage();

UPDATE monthly_usage_totals AS t
SET
    throttled_requests = least(greatest(c.throttled - c.queued_throttled, 0), t.failed_requests),
    server_errors = least(
        greatest(c.broken - c.queued_broken, 0),
        t.failed_requests - least(greatest(c.throttled - c.queued_throttled, 0), t.failed_requests)
    )
FROM (
    SELECT
        f.user_id,
        f.month,
        sum(f.throttled) AS throttled,
        sum(f.broken) AS broken,
        sum(f.queued_throttled) AS queued_throttled,
        sum(f.queued_broken) AS queued_broken
    FROM (
        SELECT
            a.user_id,
            date_trunc('month', a.created_at AT TIME ZONE 'UTC')::date AS month,
            count(*) FILTER (WHERE a.status_code = 429) AS throttled,
            count(*) FILTER (WHERE a.status_code >= 500) AS broken,
            0 AS queued_throttled,
            0 AS queued_broken
        FROM api_usage AS a
        WHERE a.status_code >= 400
        GROUP BY a.user_id, date_trunc('month', a.created_at AT TIME ZONE 'UTC')::date
        UNION ALL
        SELECT
            d.user_id,
            d.month,
            0 AS throttled,
            0 AS broken,
            d.throttled_requests,
            d.server_errors
        FROM api_usage_deltas AS d
    ) AS f
    GROUP BY f.user_id, f.month
) AS c
WHERE
    c.user_id = t.user_id
    AND c.month = t.month
    AND (t.throttled_requests, t.server_errors) IS DISTINCT FROM (
        least(greatest(c.throttled - c.queued_throttled, 0), t.failed_requests),
        least(
            greatest(c.broken - c.queued_broken, 0),
            t.failed_requests - least(greatest(c.throttled - c.queued_throttled, 0), t.failed_requests)
        )
    );
