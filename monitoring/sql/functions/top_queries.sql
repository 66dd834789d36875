-- The hundred statements of this database that took the most time since pg_stat_statements was last reset; none where
-- it is not installed or not loaded. What others ran is hidden from a role without pg_read_all_stats.
CREATE FUNCTION top_queries() RETURNS TABLE (
    query_id bigint, username text, calls bigint, total_ms numeric, mean_ms numeric, percent_of_time numeric,
    rows_returned bigint, query text
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := (
        SELECT e.extnamespace::regnamespace::text FROM pg_extension AS e WHERE e.extname = 'pg_stat_statements'
    );
BEGIN
    IF home IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT s.queryid, r.rolname::text, s.calls, round(s.total_exec_time::numeric, 1),
            round(s.mean_exec_time::numeric, 2),
            round((100 * s.total_exec_time / nullif(sum(s.total_exec_time) OVER (), 0))::numeric, 1),
            s.rows, left(s.query, 2000)
        FROM %s.pg_stat_statements AS s
        LEFT JOIN pg_roles AS r ON r.oid = s.userid
        WHERE s.dbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AND s.toplevel
        ORDER BY s.total_exec_time DESC
        LIMIT 100',
        home
    );
EXCEPTION
    WHEN object_not_in_prerequisite_state THEN -- not in shared_preload_libraries
        RETURN;
END
$$;
