-- Drops the partitions of api_usage whose every row is more than `days` days old; returns how many. Totals, counters
-- and known request ids outlive them. Rows in the default partition wait until they have a partition.
CREATE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_old_api_usage', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    RETURN drop_partitions_before('api_usage', cutoff);
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;
