-- Drops every partition of a table, partitioned by month, that lies wholly before the cutoff, by the bounds in the
-- catalogue, and finishes detaches that were left half done. Returns how many were dropped.
--
-- Detaching needs the parent to itself for a moment: all locks are taken together before anything is done.
CREATE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    half_detached CONSTANT regclass[] := ARRAY(
        SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = parent AND i.inhdetachpending
    );
    old regclass[];
    locks text[] := '{}';
    partition regclass;
BEGIN
    SELECT coalesce(array_agg(p.partition ORDER BY p.opens), '{}') INTO old
    FROM monthly_partitions(parent) AS p
    WHERE p.closes <= cutoff;
    IF old = '{}' AND half_detached = '{}' THEN
        RETURN 0;
    END IF;

    IF old <> '{}' THEN
        locks := ARRAY[format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent)] || ARRAY(
            SELECT format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', l.relation)
            FROM (
                SELECT t.partdefid::regclass AS relation
                FROM pg_partitioned_table AS t
                WHERE t.partrelid = parent AND t.partdefid <> 0
                UNION ALL
                SELECT o.relation FROM unnest(old) AS o (relation)
            ) AS l
        );
    END IF;
    PERFORM lock_for_partitions(
        parent,
        ARRAY(
            SELECT format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, h.relation)
            FROM unnest(half_detached) AS h (relation)
        ) || locks,
        'it'
    );

    FOREACH partition IN ARRAY old LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    RETURN cardinality(old);
END
$$;
