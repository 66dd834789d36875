-- Removes audit rows that are more than `days` days old, whole months by dropping their partition; returns how many.
CREATE FUNCTION cleanup_audit_log(days int DEFAULT 365) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_audit_log', days);
    dropped bigint;
    deleted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));

    SELECT count(*) INTO dropped
    FROM audit_log AS a
    WHERE a.tableoid IN (SELECT p.partition FROM monthly_partitions('audit_log') AS p WHERE p.closes <= cutoff);
    PERFORM set_config('app.audit_retention', 'on', true);
    DELETE FROM audit_log AS a
    WHERE a.occurred_at < cutoff
        AND a.tableoid NOT IN (SELECT p.partition FROM monthly_partitions('audit_log') AS p WHERE p.closes <= cutoff);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('app.audit_retention', '', true);
    PERFORM drop_partitions_before('audit_log', cutoff);
    RETURN dropped + deleted;
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_audit_log(int) FROM public;
