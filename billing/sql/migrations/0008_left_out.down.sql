-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

-- Drops the partitions of api_usage whose every row is more than `days` days old, up to 24 at a call, and deletes rows
-- as old from the default partition; returns how many partitions. Totals, counters and known request ids outlive them.
CREATE OR REPLACE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_old_api_usage', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    -- As many as if they had partitions: whole months.
    DELETE FROM api_usage_default AS u WHERE u.created_at < date_trunc('month', cutoff, 'UTC');
    RETURN cardinality(drop_partitions_before('api_usage'::regclass, cutoff));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;
