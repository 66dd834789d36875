-- Drops the partitions of api_usage whose every row is more than `days` days old, up to 24 at a call, and deletes rows
-- as old from the default partition; returns how many partitions. Totals, counters and known request ids outlive them.
CREATE FUNCTION cleanup_old_api_usage(days int DEFAULT 90) RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET quote_all_identifiers = off
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_old_api_usage', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('api_usage partitions', 0));
    -- As many as if they had partitions: whole months.
    PERFORM delete_rows(d.strays, format('created_at < %L', date_trunc('month', cutoff, 'UTC')))
    FROM default_partition('api_usage'::regclass) AS d (strays)
    WHERE d.strays IS NOT NULL;
    RETURN cardinality(drop_partitions_before('api_usage'::regclass, cutoff));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;
