-- Requests of each key in each calendar month (UTC).
CREATE TABLE traffic_key_months (
    month date NOT NULL,
    api_key_id uuid NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    CONSTRAINT traffic_key_months_pkey PRIMARY KEY (month, api_key_id)
)
WITH (fillfactor = 80);
