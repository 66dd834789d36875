-- Executes statements that take the locks on a partitioned table and its partitions, all of them or none; `wanted` says
-- in the error what they lock.
--
-- A lock request that waits stalls everybody behind it, so each attempt gives up after 40 ms, releases all and lets
-- them pass; the twenty-fifth is the last.
CREATE FUNCTION lock_for_partitions(parent regclass, statements text[], wanted text) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET lock_timeout = '40ms'
AS $$
DECLARE
    max_attempts CONSTANT int := 25;
    statement text;
BEGIN
    FOR attempt IN 1..max_attempts LOOP
        BEGIN
            FOREACH statement IN ARRAY statements LOOP
                EXECUTE statement;
            END LOOP;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt = max_attempts THEN
                RAISE EXCEPTION '%: gave up after % attempts to lock %', parent, attempt, wanted
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction reads or writes it; try again later.';
            END IF;
            PERFORM pg_sleep(least(0.05 * attempt, 0.4)::float8 * (0.5::float8 + random()));
        END;
    END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION lock_for_partitions(regclass, text[], text) FROM public;
