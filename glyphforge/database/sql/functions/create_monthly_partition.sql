-- Makes the partition of one month (UTC) of a table that is partitioned by range of a timestamptz, and moves the rows
-- that waited for it in the default partition, whose storage parameters it gets. True when it was made, false when the
-- month had one already. The caller holds the locks: see create_monthly_partitions().
--
-- PostgreSQL clones the parent's row triggers to a partition, but not the statement triggers, which an insert straight
-- into the partition must fire too. Rows move before the new table has them, so that nothing is counted twice. ATTACH
-- takes a weaker lock on the parent than CREATE … PARTITION OF and does not stall readers.
CREATE FUNCTION create_monthly_partition(parent regclass, month date) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict error
DECLARE
    parent_name CONSTANT text := (SELECT c.relname FROM pg_class AS c WHERE c.oid = parent);
    partition_name CONSTANT text := parent_name || to_char(month, '"_"YYYY"_"MM');
    key_column CONSTANT text := partition_key(parent);
    default_partition CONSTANT regclass := (SELECT nullif(t.partdefid, 0) FROM pg_partitioned_table AS t WHERE t.partrelid = parent);
    parameters CONSTANT text[] := (SELECT c.reloptions FROM pg_class AS c WHERE c.oid = default_partition);
    statement_trigger text;
    starts CONSTANT timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    ends CONSTANT timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF key_column IS NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: % is not partitioned by month', parent
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (SELECT 1 FROM monthly_partitions(parent) AS p WHERE p.opens <= starts AND p.closes >= ends) THEN
        RETURN false;
    END IF;
    IF to_regclass(quote_ident(partition_name)) IS NOT NULL THEN
        RAISE EXCEPTION 'create_monthly_partition: table % exists but is no partition of %', partition_name, parent
            USING ERRCODE = 'duplicate_table', HINT = 'Attach it, rename it or drop it.';
    END IF;

    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition_name, parent_name);
    IF default_partition IS NOT NULL THEN
        PERFORM set_config('app.audit_retention', 'on', true);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %1$s WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) INSERT INTO %5$I SELECT * FROM moved',
            default_partition, key_column, starts, ends, partition_name
        );
        PERFORM set_config('app.audit_retention', '', true);
    END IF;
    IF parameters IS NOT NULL THEN
        EXECUTE format('ALTER TABLE %I SET (%s)', partition_name, array_to_string(parameters, ', '));
    END IF;
    FOR statement_trigger IN
        SELECT replace(pg_get_triggerdef(t.oid, true), format(' ON %s ', parent), format(' ON %I ', partition_name))
        FROM pg_trigger AS t
        WHERE t.tgrelid = parent AND NOT t.tgisinternal AND t.tgtype & 1 = 0
    LOOP
        EXECUTE statement_trigger;
    END LOOP;
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent_name, partition_name, starts, ends
    );
    RETURN true;
END
$$;
