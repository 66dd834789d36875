-- Refreshes the planner's statistics of the tables that are partitioned by month, whose parents autovacuum never
-- analyses; returns how many tables. A table that somebody has locked is left for the next time.
CREATE FUNCTION analyze_partitioned_tables() RETURNS int
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET quote_all_identifiers = off
SET client_min_messages = 'error'
AS $$
DECLARE
    parents CONSTANT regclass[] := ARRAY(
        SELECT t.partrelid::regclass
        FROM pg_partitioned_table AS t
        INNER JOIN pg_class AS c ON c.oid = t.partrelid
        WHERE c.relnamespace = 'public'::regnamespace::oid AND partition_key(t.partrelid::regclass) IS NOT NULL
        ORDER BY c.relname
    );
    parent regclass;
BEGIN
    -- Not while partitions are made or dropped: that needs locks which this one holds to the end of the transaction.
    FOREACH parent IN ARRAY parents LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended(format('%s partitions', parent), 0));
    END LOOP;
    IF cardinality(parents) > 0 THEN
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', array_to_string(parents, ', '));
    END IF;
    RETURN cardinality(parents);
END
$$;

REVOKE EXECUTE ON FUNCTION analyze_partitioned_tables() FROM public;
