-- The default partition of a table, which catches rows of no other; NULL where there is none.
CREATE FUNCTION default_partition(parent regclass) RETURNS regclass
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT t.partdefid::regclass
    FROM pg_partitioned_table AS t
    WHERE t.partrelid = parent::oid AND t.partdefid <> 0::oid
$$;
