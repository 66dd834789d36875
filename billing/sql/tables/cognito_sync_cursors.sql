-- How far an interrupted pass over a Cognito user pool came: the token of the next page. No row when none is under way.
CREATE TABLE cognito_sync_cursors (
    user_pool_id text PRIMARY KEY,
    page_token text NOT NULL,
    pages int NOT NULL CONSTRAINT cognito_sync_cursors_pages_positive CHECK (pages > 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);
