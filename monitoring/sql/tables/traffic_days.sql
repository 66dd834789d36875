-- Requests of each day (UTC). Outlives the partitions it was folded from.
CREATE TABLE traffic_days (
    day date CONSTRAINT traffic_days_pkey PRIMARY KEY,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    active_users bigint NOT NULL
)
WITH (fillfactor = 50);
