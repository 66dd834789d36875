-- Who was active on a day (UTC), so that a day's users are counted once however often it is folded. Kept for 95 days.
CREATE TABLE traffic_user_days (
    day date NOT NULL,
    user_id uuid NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    CONSTRAINT traffic_user_days_pkey PRIMARY KEY (day, user_id)
)
WITH (fillfactor = 80);
