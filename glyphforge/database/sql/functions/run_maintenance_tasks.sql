-- Runs each statement, which returns one number, under its own savepoint and reports it: a failing task neither stops
-- nor undoes the others. A statement timeout or a cancellation still ends them all.
CREATE FUNCTION run_maintenance_tasks(tasks text[], statements text[])
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    started timestamptz;
BEGIN
    FOR n IN 1..coalesce(cardinality(tasks), 0) LOOP
        task := tasks[n];
        started := clock_timestamp();
        BEGIN
            EXECUTE statements[n] INTO rows_affected;
            status := 'succeeded';
            error := NULL;
        EXCEPTION WHEN OTHERS THEN
            status := 'failed';
            rows_affected := NULL;
            error := SQLERRM;
        END;
        duration_ms := extract(epoch FROM clock_timestamp() - started) * 1000::numeric;
        RETURN NEXT;
    END LOOP;
END
$$;
