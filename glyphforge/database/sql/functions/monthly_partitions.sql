-- The partitions of a table that is partitioned by range of a timestamptz, with their bounds as the catalogue has
-- them; the default partition and half-detached ones are left out. An open bound is infinite.
CREATE FUNCTION monthly_partitions(parent regclass)
RETURNS TABLE (partition regclass, opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
    SELECT
        i.inhrelid::regclass,
        coalesce(substring(b.bounds FROM 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
        coalesce(substring(b.bounds FROM 'TO \(''([^'']+)''\)')::timestamptz, 'infinity')
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bounds)
    WHERE i.inhparent = parent AND NOT i.inhdetachpending AND b.bounds <> 'DEFAULT'
    ORDER BY 2
$$;
