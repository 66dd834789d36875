-- Drops the partitions of a table, partitioned by month, that lie wholly before the cutoff, by the bounds in the
-- catalogue, the oldest first and up to 24 at a time, as readers and writers wait meanwhile. Finishes a detach that
-- was left half done, and drops what it detached when that is as old. Returns the names of the dropped ones. One that
-- cannot be dropped stops no other: a WARNING says why, and it is an error only where none could be. The caller keeps
-- others out by an advisory lock.
--
-- Dropping a partition needs parent and default partition to itself for a moment: both locks are taken before anything
-- is done, and a partition that somebody else has locked is left for the next time.
CREATE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS text[]
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '10ms'
SET client_min_messages = 'warning'
SET quote_all_identifiers = off
AS $$
#variable_conflict error
DECLARE
    strays CONSTANT regclass := default_partition(parent);
    old CONSTANT text[] := ARRAY(
        SELECT p.partition::text FROM monthly_partitions(parent) AS p WHERE p.closes <= cutoff ORDER BY p.opens LIMIT 24
    );
    half_detached CONSTANT regclass := (
        SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = parent::oid AND i.inhdetachpending
    );
    dropped text[] := '{}';
    partition text;
    closes timestamptz;
    detail text;
    failure text;
BEGIN
    IF partition_key(parent) IS NULL OR cutoff IS NULL THEN
        RAISE EXCEPTION 'drop_partitions_before: needs a table that is partitioned by month and a cutoff, not % and %',
            coalesce(parent::text, 'NULL'), coalesce(cutoff::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF half_detached IS NOT NULL THEN
        BEGIN
            -- The bounds are gone afterwards.
            closes := (SELECT b.closes FROM partition_bounds(half_detached) AS b);
            PERFORM lock_for_partitions(
                parent,
                ARRAY[format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, half_detached)],
                half_detached::text
            );
            IF closes <= cutoff THEN
                partition := half_detached;
                EXECUTE format('DROP TABLE %s', partition);
                dropped := array_append(dropped, partition);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            failure := format('%s: left out the half-detached %s: %s', parent, half_detached, SQLERRM);
            PERFORM leave_out(failure);
        END;
    END IF;

    IF cardinality(old) > 0 THEN
        PERFORM lock_for_partitions(
            parent,
            array_remove(
                ARRAY[
                    format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent),
                    CASE WHEN strays IS NOT NULL THEN format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', strays) END
                ], NULL
            ),
            'it'
        );
        FOREACH partition IN ARRAY old LOOP
            BEGIN
                EXECUTE format('DROP TABLE %s', partition);
                dropped := array_append(dropped, partition);
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS detail := PG_EXCEPTION_DETAIL;
                failure := format('%s: left out %s: %s', parent, partition, concat_ws(': ', SQLERRM, nullif(detail, '')));
                PERFORM leave_out(failure);
            END;
        END LOOP;
    END IF;
    IF cardinality(dropped) = 0 AND failure IS NOT NULL THEN
        RAISE EXCEPTION '%', failure USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN dropped;
END
$$;

REVOKE EXECUTE ON FUNCTION drop_partitions_before(regclass, timestamptz) FROM public;
