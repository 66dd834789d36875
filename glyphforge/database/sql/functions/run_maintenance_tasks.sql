-- Runs each statement, which returns one number, under its own savepoint and reports it: a failing task neither stops
-- nor undoes the others. One that leaves something out has failed too, which its error names, and what it did stays. A
-- statement timeout or a cancellation still ends them all.
CREATE FUNCTION run_maintenance_tasks(tasks text[], statements text[])
RETURNS TABLE (task text, status text, rows_affected bigint, duration_ms int, error text)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    started timestamptz;
    left_out text[];
BEGIN
    FOR n IN 1..coalesce(cardinality(tasks), 0) LOOP
        task := tasks[n];
        started := clock_timestamp();
        BEGIN
            PERFORM set_config('app.left_out', '', true);
            EXECUTE statements[n] INTO rows_affected;
            left_out := string_to_array(nullif(current_setting('app.left_out'), ''), E'\n');
            status := 'succeeded';
            error := NULL;
            IF left_out IS NOT NULL THEN
                status := 'failed';
                error := format(
                    '%s left out: %s',
                    CASE WHEN cardinality(left_out) > 20 THEN 'more than 20' ELSE cardinality(left_out)::text END,
                    array_to_string(left_out[:20], '; ')
                );
            END IF;
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
