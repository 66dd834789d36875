-- Drops every partition of api_usage or audit_log that lies wholly before the cutoff, by the bounds in the catalogue,
-- and finishes detaches that were left half done. Returns how many were dropped.
--
-- Detaching needs the parent to itself for a moment. All locks are taken together before anything is done; a request
-- that waits stalls every reader behind it, so each attempt gives up after 100 ms, releases all and lets them pass.
CREATE FUNCTION drop_partitions_before(parent regclass, cutoff timestamptz) RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 20;
    attempt int := 0;
    half_detached CONSTANT regclass[] := ARRAY(
        SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = parent AND i.inhdetachpending
    );
    old regclass[];
    partition regclass;
BEGIN
    SELECT coalesce(array_agg(p.partition ORDER BY p.opens), '{}') INTO old
    FROM monthly_partitions(parent) AS p
    WHERE p.closes <= cutoff;
    IF old = '{}' AND half_detached = '{}' THEN
        RETURN 0;
    END IF;

    LOOP
        BEGIN
            FOREACH partition IN ARRAY half_detached LOOP
                EXECUTE format('ALTER TABLE %s DETACH PARTITION %s FINALIZE', parent, partition);
            END LOOP;
            IF old <> '{}' THEN
                EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent);
                FOR partition IN
                    SELECT t.partdefid::regclass
                    FROM pg_partitioned_table AS t
                    WHERE t.partrelid = parent AND t.partdefid <> 0
                    UNION ALL
                    SELECT o.relation FROM unnest(old) AS o (relation)
                LOOP
                    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', partition);
                END LOOP;
            END IF;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            attempt := attempt + 1;
            IF attempt = max_attempts THEN
                RAISE EXCEPTION '%: gave up after % attempts to lock it', parent, attempt
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction reads or writes it; try again later.';
            END IF;
            PERFORM pg_sleep(least(0.05 * attempt, 0.5) * (0.5 + random()));
        END;
    END LOOP;

    FOREACH partition IN ARRAY old LOOP
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    RETURN cardinality(old);
END
$$;
