-- Says by a WARNING what a loop leaves out, and keeps it until the end of the transaction in app.left_out, a line each
-- of the first 21, as run_maintenance_tasks() cannot hear a warning.
CREATE FUNCTION leave_out(what text) RETURNS void
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    known CONSTANT text[] := string_to_array(nullif(current_setting('app.left_out', true), ''), E'\n');
BEGIN
    RAISE WARNING '%', what;
    IF coalesce(cardinality(known), 0) <= 20 THEN
        PERFORM set_config(
            'app.left_out', array_to_string(array_append(known, left(translate(what, E'\r\n', '  '), 500)), E'\n'), true
        );
    END IF;
END
$$;
