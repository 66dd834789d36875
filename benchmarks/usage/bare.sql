-- The limit: the same columns, nothing else.
DROP TABLE api_usage CASCADE;

CREATE TABLE api_usage (
    id bigserial,
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
    created_at timestamptz NOT NULL DEFAULT now()
);
