-- Runs the weekly deep cleanup and returns one row for each task, as run_daily_maintenance() does.
CREATE FUNCTION run_weekly_maintenance()
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('run_weekly_maintenance', 0));
    -- Before a task locks these tables, or it and who makes or drops partitions at the same time wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    RETURN QUERY
    SELECT t.*
    FROM run_maintenance_tasks(
        ARRAY['cleanup_webhook_events', 'cleanup_api_usage_request_ids', 'analyze_partitioned_tables', 'cleanup_audit_log'],
        ARRAY[
            'SELECT cleanup_webhook_events()', 'SELECT cleanup_api_usage_request_ids()',
            'SELECT analyze_partitioned_tables()', 'SELECT cleanup_audit_log()'
        ]
    ) AS t;
END
$$;
