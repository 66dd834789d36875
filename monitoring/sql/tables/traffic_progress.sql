-- How far fold_traffic() has come: one row. Requests up to folded_to are in the traffic tables, later ones are read
-- from api_usage. seen_id is the next goal; seen_writers are the transactions that may still add requests up to it.
CREATE TABLE traffic_progress (
    is_only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT traffic_progress_one_row CHECK (is_only_row),
    folded_to bigint NOT NULL DEFAULT 0,
    folded_at timestamptz,
    seen_id bigint NOT NULL DEFAULT 0,
    seen_writers text[] NOT NULL DEFAULT '{}', -- noqa: LT01
    CONSTRAINT traffic_progress_goal_ahead CHECK (seen_id >= folded_to)
);

INSERT INTO traffic_progress DEFAULT VALUES;
