-- Runs every daily task and returns one row for each. The partitions come last, as their locks are held until the end
-- of the transaction and would stall readers behind the other tasks.
CREATE FUNCTION run_daily_maintenance()
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('run_daily_maintenance', 0));
    -- Before a task locks these tables, or it and who makes or drops partitions at the same time wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    RETURN QUERY
    SELECT t.*
    FROM run_maintenance_tasks(
        ARRAY[
            'roll_up_usage', 'sync_subscription_usage', 'fix_orphaned_stripe_customers', 'cleanup_webhook_events',
            'cleanup_rate_limits', 'cleanup_api_usage_request_ids', 'analyze_partitioned_tables',
            'create_api_usage_partitions', 'create_audit_log_partitions', 'cleanup_old_api_usage'
        ],
        ARRAY[
            'SELECT roll_up_usage()', 'SELECT sync_subscription_usage()',
            'SELECT count(*) FROM fix_orphaned_stripe_customers()', 'SELECT cleanup_webhook_events()',
            'SELECT cleanup_rate_limits()', 'SELECT cleanup_api_usage_request_ids()',
            'SELECT analyze_partitioned_tables()', 'SELECT create_api_usage_partitions()',
            'SELECT create_audit_log_partitions()', 'SELECT cleanup_old_api_usage()'
        ]
    ) AS t;
END
$$;
