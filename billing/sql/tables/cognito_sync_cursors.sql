-- How far an interrupted pass over a Cognito user pool came: the token of the next page. No row when none is under way.
CREATE TABLE cognito_sync_cursors (
    user_pool_id text PRIMARY KEY,
    page_token text NOT NULL,
    pages int NOT NULL CONSTRAINT cognito_sync_cursors_pages_positive CHECK (pages > 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cognito_sync_cursors_texts_bounded CHECK (octet_length(user_pool_id) <= 255),
    CONSTRAINT cognito_sync_cursors_times_plausible CHECK (
        updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00'
    )
);
