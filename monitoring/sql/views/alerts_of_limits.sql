-- The customers who have used more of their month than the threshold says.
CREATE VIEW alerts_of_limits AS
SELECT
    'users_near_limit' AS check_name,
    n.user_id::text AS cause,
    CASE WHEN n.percent_used > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    coalesce(n.email, n.user_id::text) AS subject,
    format(
        '%s of %s requests of this month are used (%s %%), on the %s plan.',
        to_char(n.usage_count, 'FM999,999,999,999,999'),
        to_char(n.monthly_request_limit, 'FM999,999,999,999,999'),
        n.percent_used,
        n.tier
    ) AS message,
    n.percent_used AS value,
    now() AS detected_at,
    'user' AS object_type,
    n.user_id::text AS object_id,
    ARRAY[n.user_id::text] AS objects
FROM v_users_near_limit AS n
INNER JOIN health_checks AS t ON t.check_name = 'users_near_limit'
-- Not the rounded percentage: 80.004 % is over 80.
WHERE 100.0 * n.usage_count > least(t.warning_at, t.critical_at) * n.monthly_request_limit;
