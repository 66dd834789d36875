-- Makes the partition of one month (UTC) of api_usage or audit_log and moves the rows that waited for it in the
-- default partition. True when it was made, false when the month had one already. The caller holds the locks: see
-- create_monthly_partitions().
--
-- Rows move before the new table has its counting trigger, so they are not counted twice. ATTACH takes a weaker lock
-- on the parent than CREATE … PARTITION OF and does not stall readers.
CREATE FUNCTION create_monthly_partition(parent regclass, month date) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict error
DECLARE
    parent_name CONSTANT text := (SELECT c.relname FROM pg_class AS c WHERE c.oid = parent);
    partition_name CONSTANT text := parent_name || to_char(month, '"_"YYYY"_"MM');
    key_column CONSTANT text := CASE parent_name WHEN 'api_usage' THEN 'created_at' WHEN 'audit_log' THEN 'occurred_at' END;
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
    IF to_regclass(quote_ident(parent_name || '_default')) IS NOT NULL THEN
        PERFORM set_config('app.audit_retention', 'on', true);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING *) INSERT INTO %5$I SELECT * FROM moved',
            parent_name || '_default', key_column, starts, ends, partition_name
        );
        PERFORM set_config('app.audit_retention', '', true);
    END IF;
    IF parent_name = 'api_usage' THEN
        EXECUTE format(
            'ALTER TABLE %I SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)',
            partition_name
        );
        EXECUTE format(
            'CREATE TRIGGER count_usage AFTER INSERT ON %I REFERENCING NEW TABLE AS new_requests'
            ' FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage()',
            partition_name
        );
    ELSE
        EXECUTE format(
            'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()',
            partition_name
        );
    END IF;
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent_name, partition_name, starts, ends
    );
    RETURN true;
END
$$;
