-- Who failed three times or more at one endpoint within the last hour. Failed is a status of 400 and above. An endpoint
-- of more than 200 characters is named as in the traffic tables.
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
        traffic_endpoint(r.endpoint) AS endpoint,
        count(*) AS failures,
        max(r.created_at) AS last_failure_at,
        (array_agg(r.status_code ORDER BY r.created_at DESC, r.id DESC))[1] AS last_status_code
    FROM api_usage AS r
    WHERE
        r.status_code >= 400
        AND r.created_at >= now() - interval '1 hour'
        AND r.created_at <= statement_timestamp()
    GROUP BY r.user_id, traffic_endpoint(r.endpoint)
    HAVING count(*) >= 3
) AS f
LEFT JOIN users AS u ON f.user_id = u.id;
