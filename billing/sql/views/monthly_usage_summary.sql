-- Exact usage per user and calendar month (UTC): what is folded plus what is still queued. Times beyond what a bigint
-- holds stop at its end. Of the failed requests throttled_requests were answered with 429, server_errors with 5xx.
CREATE VIEW monthly_usage_summary AS
SELECT
    counted.user_id,
    counted.month,
    sum(counted.total_requests)::bigint AS total_requests,
    sum(counted.successful_requests)::bigint AS successful_requests,
    sum(counted.failed_requests)::bigint AS failed_requests,
    least(sum(counted.total_response_time_ms), 9223372036854775807)::bigint AS total_response_time_ms,
    max(counted.max_response_time_ms) AS max_response_time_ms,
    max(counted.last_request_at) AS last_request_at,
    sum(counted.throttled_requests)::bigint AS throttled_requests,
    sum(counted.server_errors)::bigint AS server_errors
FROM (
    SELECT
        t.user_id,
        t.month,
        t.total_requests,
        t.successful_requests,
        t.failed_requests,
        t.total_response_time_ms,
        t.max_response_time_ms,
        t.last_request_at,
        t.throttled_requests,
        t.server_errors
    FROM monthly_usage_totals AS t
    UNION ALL
    SELECT
        d.user_id,
        d.month,
        d.total_requests,
        d.total_requests - d.failed_requests AS successful_requests,
        d.failed_requests,
        d.total_response_time_ms,
        d.max_response_time_ms,
        d.last_request_at,
        d.throttled_requests,
        d.server_errors
    FROM api_usage_deltas AS d
) AS counted
GROUP BY counted.user_id, counted.month;
