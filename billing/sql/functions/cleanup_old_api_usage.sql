-- Drops the partitions of api_usage whose every row is more than `days` days old; returns how many. Totals, counters
-- and known request ids outlive them. Rows in the default partition wait until they have a partition.
CREATE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_old_api_usage: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    -- No date lies millions of days back.
    RETURN drop_partitions_before('api_usage', now() - least(days, 100000) * interval '24 hours');
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;
