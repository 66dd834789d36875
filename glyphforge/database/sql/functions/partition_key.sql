-- The column by whose range a table is partitioned; NULL when it is not partitioned by range of one timestamptz.
CREATE FUNCTION partition_key(parent regclass) RETURNS text
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT a.attname::text
    FROM pg_partitioned_table AS t
    INNER JOIN pg_attribute AS a ON a.attrelid = t.partrelid AND a.attnum = t.partattrs[0]
    WHERE t.partrelid = parent::oid
        AND t.partstrat = 'r' AND t.partnatts = 1 AND a.atttypid = 'timestamptz'::regtype::oid
$$;
