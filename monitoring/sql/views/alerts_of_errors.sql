-- The customers with more failed requests within an hour than the threshold says.
CREATE VIEW alerts_of_errors AS
SELECT
    'error_rate' AS check_name,
    f.user_id::text AS cause,
    CASE WHEN f.failures > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    coalesce(u.email, f.user_id::text) AS subject,
    format('%s requests failed within the last hour.', f.failures) AS message,
    f.failures::numeric AS value,
    f.first_failure_at AS detected_at,
    'user' AS object_type,
    f.user_id::text AS object_id,
    ARRAY[f.user_id::text] AS objects
FROM failing_users AS f
INNER JOIN health_checks AS t ON t.check_name = 'error_rate'
LEFT JOIN users AS u ON f.user_id = u.id
WHERE f.failures > least(t.warning_at, t.critical_at);
