-- The partitions of a table that is partitioned by range of a timestamptz, with their bounds, oldest first; the default
-- partition and half-detached ones are left out.
CREATE FUNCTION monthly_partitions(parent regclass)
RETURNS TABLE (partition regclass, opens timestamptz, closes timestamptz)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT i.inhrelid::regclass, b.opens, b.closes
    FROM pg_inherits AS i
    CROSS JOIN LATERAL partition_bounds(i.inhrelid::regclass) AS b
    WHERE i.inhparent = parent::oid AND NOT i.inhdetachpending
    ORDER BY b.opens
$$;
