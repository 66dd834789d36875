-- Response times of each endpoint and hour (UTC) as a histogram. A bucket is exact up to 20 ms and 10 % wide above it;
-- its sum gives the mean of what is in it, so a percentile read from it is a few percent off at most. Kept for 15 days.
CREATE TABLE traffic_latency_hours (
    hour timestamptz NOT NULL,
    endpoint text NOT NULL,
    method text NOT NULL,
    bucket smallint NOT NULL,
    requests bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    max_response_time_ms int NOT NULL,
    CONSTRAINT traffic_latency_hours_pkey PRIMARY KEY (hour, endpoint, method, bucket)
)
WITH (fillfactor = 80);
