-- Failed requests, status 400 and above, of each user within the last hour.
CREATE VIEW failing_users AS
SELECT
    r.user_id,
    count(*) AS failures,
    min(r.created_at) AS first_failure_at,
    max(r.created_at) AS last_failure_at
FROM api_usage AS r
WHERE
    r.status_code >= 400
    AND r.created_at >= now() - interval '1 hour'
    AND r.created_at <= statement_timestamp()
GROUP BY r.user_id;
