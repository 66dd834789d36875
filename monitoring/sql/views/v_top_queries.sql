-- The statements that took the most time, the longest first.
CREATE VIEW v_top_queries AS
SELECT
    concat_ws('.', t.username, t.query_id) AS id,
    t.query,
    t.calls,
    t.total_ms,
    t.mean_ms,
    t.percent_of_time,
    t.rows_returned,
    t.username
FROM top_queries() AS t;
