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
