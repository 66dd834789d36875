-- Refreshes the planner's statistics of api_usage and audit_log, whose parents autovacuum never analyses; returns how
-- many tables. A table that somebody has locked is left for the next time.
CREATE FUNCTION analyze_partitioned_tables() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    -- Not while partitions are made or dropped: that needs locks which this one holds to the end of the transaction.
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    ANALYZE (SKIP_LOCKED) api_usage, audit_log;
    RETURN 2;
END
$$;

REVOKE EXECUTE ON FUNCTION analyze_partitioned_tables() FROM public;
