-- From when (inclusive) to when (exclusive) a partition by range of a timestamptz holds rows, as the catalogue has it;
-- an open bound is infinite. No row for the default partition and for what is no partition.
CREATE FUNCTION partition_bounds(partition regclass) RETURNS TABLE (opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET standard_conforming_strings = on
AS $$
    SELECT
        coalesce(substring(b.bounds FROM 'FROM [(]''([^'']+)''[)]')::timestamptz, '-infinity'::timestamptz),
        coalesce(substring(b.bounds FROM 'TO [(]''([^'']+)''[)]')::timestamptz, 'infinity'::timestamptz)
    FROM pg_class AS c
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bounds)
    WHERE c.oid = partition::oid AND b.bounds <> 'DEFAULT'
$$;
