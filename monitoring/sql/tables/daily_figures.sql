-- What a day (UTC) came to, kept after the usage it was counted from is dropped. Today's row is provisional.
CREATE TABLE daily_figures (
    day date CONSTRAINT daily_figures_pkey PRIMARY KEY,
    total_users bigint NOT NULL,
    new_users bigint NOT NULL,
    paying_customers bigint NOT NULL,
    churned_customers bigint NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    active_users bigint NOT NULL,
    total_response_time_ms bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
