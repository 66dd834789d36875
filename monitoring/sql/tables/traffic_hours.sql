-- Requests of each user and key in each hour (UTC) of the last two days.
CREATE TABLE traffic_hours (
    hour timestamptz NOT NULL,
    user_id uuid NOT NULL,
    api_key_id uuid,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL
)
WITH (fillfactor = 80);

CREATE UNIQUE INDEX traffic_hours_key ON traffic_hours (hour, user_id, api_key_id) NULLS NOT DISTINCT;
CREATE INDEX traffic_hours_api_key ON traffic_hours (api_key_id, hour) INCLUDE (requests);
