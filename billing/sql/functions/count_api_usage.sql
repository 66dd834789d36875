-- Queues what a statement added to api_usage, aggregated, and never waits for another writer: no shared row is touched
-- until roll_up_usage() folds the queue. monthly_usage_summary adds the queue to the totals, so it is exact at once.
-- A single row, which most statements add, needs no aggregate; leaving it out saves an eighth of the insert.
CREATE FUNCTION count_api_usage() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM new_requests OFFSET 1) THEN
        INSERT INTO api_usage_deltas (
            user_id, api_key_id, month, total_requests, successful_requests, failed_requests,
            total_response_time_ms, max_response_time_ms, last_request_at
        )
        SELECT
            n.user_id,
            n.api_key_id,
            date_trunc('month', n.created_at AT TIME ZONE 'UTC')::date,
            1,
            (n.status_code < 400)::int,
            (n.status_code >= 400)::int,
            n.response_time_ms,
            n.response_time_ms,
            n.created_at
        FROM new_requests AS n;
        RETURN NULL;
    END IF;

    INSERT INTO api_usage_deltas (
        user_id, api_key_id, month, total_requests, successful_requests, failed_requests,
        total_response_time_ms, max_response_time_ms, last_request_at
    )
    SELECT
        n.user_id,
        n.api_key_id,
        date_trunc('month', n.created_at AT TIME ZONE 'UTC')::date,
        count(*),
        count(*) FILTER (WHERE n.status_code < 400),
        count(*) FILTER (WHERE n.status_code >= 400),
        sum(n.response_time_ms),
        max(n.response_time_ms),
        max(n.created_at)
    FROM new_requests AS n
    GROUP BY 1, 2, 3;
    RETURN NULL;
END
$$;
