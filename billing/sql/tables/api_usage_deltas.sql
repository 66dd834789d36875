-- What the counting trigger queued and roll_up_usage() has not folded yet. Logged on purpose: an unlogged queue comes
-- back empty after a crash. Rows live for seconds, so vacuum goes by count and not by share. Every request writes one:
-- what can be derived is left out, and the order of the columns leaves no gaps between them.
CREATE TABLE api_usage_deltas (
    user_id uuid NOT NULL,
    api_key_id uuid,
    last_request_at timestamptz NOT NULL,
    total_response_time_ms bigint NOT NULL,
    month date NOT NULL,
    total_requests int NOT NULL,
    failed_requests int NOT NULL,
    max_response_time_ms int NOT NULL,
    throttled_requests int NOT NULL DEFAULT 0,
    server_errors int NOT NULL DEFAULT 0,
    CONSTRAINT api_usage_deltas_month_first_day CHECK (extract(DAY FROM month) = 1),
    CONSTRAINT api_usage_deltas_counted CHECK (total_requests > 0 AND failed_requests BETWEEN 0 AND total_requests),
    CONSTRAINT api_usage_deltas_failures_add_up CHECK (
        throttled_requests >= 0 AND server_errors >= 0
        AND throttled_requests::bigint + server_errors <= failed_requests
    ),
    CONSTRAINT api_usage_deltas_times_add_up CHECK (
        max_response_time_ms >= 0 AND total_response_time_ms BETWEEN 0 AND total_requests::bigint * max_response_time_ms
    ),
    CONSTRAINT api_usage_deltas_month_plausible CHECK (month >= '1970-01-01' AND month < '2200-01-01'),
    CONSTRAINT api_usage_deltas_times_plausible CHECK (
        last_request_at >= '1970-01-01 00:00:00+00' AND last_request_at < '2200-01-01 00:00:00+00'
    )
)
WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 20000
);
