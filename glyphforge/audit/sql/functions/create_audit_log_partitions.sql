-- Makes the monthly partitions of audit_log for this month (UTC) and `months` ahead, 0 to 120, and moves the rows of
-- the default partition into partitions of their own. Returns how many of those months were missing; a second caller
-- waits.
CREATE FUNCTION create_audit_log_partitions(months int DEFAULT 3) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
    RETURN create_monthly_partitions('audit_log', months);
END
$$;

REVOKE EXECUTE ON FUNCTION create_audit_log_partitions(int) FROM public;
