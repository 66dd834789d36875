-- One row a request, in monthly partitions (UTC) that are dropped whole. No foreign keys and few indexes: this is the
-- hot path, and a dropped month must not touch other tables. The sequence is explicit because a partition of
-- PostgreSQL 15 does not inherit an identity column, and rows may be written straight into a partition.
CREATE SEQUENCE api_usage_id_seq AS bigint;

CREATE TABLE api_usage (
    id bigint NOT NULL DEFAULT nextval('api_usage_id_seq'),
    user_id uuid NOT NULL,
    api_key_id uuid,
    endpoint text NOT NULL,
    method text NOT NULL,
    status_code int NOT NULL,
    response_time_ms int NOT NULL,
    request_bytes int,
    response_bytes int,
    ip_address inet,
    error_message text,
    request_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_usage_pkey PRIMARY KEY (id, created_at),
    CONSTRAINT api_usage_status_code_http CHECK (status_code BETWEEN 100 AND 599),
    CONSTRAINT api_usage_response_time_not_negative CHECK (response_time_ms >= 0),
    -- Both are keys of the traffic tables. What writes through a function or the API has them cut.
    CONSTRAINT api_usage_endpoint_length CHECK (octet_length(endpoint) <= 2000),
    CONSTRAINT api_usage_method_length CHECK (octet_length(method) <= 63),
    CONSTRAINT api_usage_bytes_not_negative CHECK (request_bytes >= 0 AND response_bytes >= 0),
    -- Milliseconds taken for seconds ask for partitions of far centuries; infinity for one that cannot be made.
    CONSTRAINT api_usage_created_at_plausible
    CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '2200-01-01 00:00:00+00')
) PARTITION BY RANGE (created_at);

ALTER SEQUENCE api_usage_id_seq OWNED BY api_usage.id;

CREATE INDEX api_usage_user_id_created_at ON api_usage (user_id, created_at);
CREATE INDEX api_usage_api_key_id_created_at ON api_usage (api_key_id, created_at);
CREATE INDEX api_usage_created_at_brin ON api_usage USING brin (created_at)
WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX api_usage_failures ON api_usage (created_at) INCLUDE (user_id) WHERE status_code >= 400;

-- A row of a month without a partition lands here and is moved when the partition is made.
CREATE TABLE api_usage_default PARTITION OF api_usage DEFAULT
WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
