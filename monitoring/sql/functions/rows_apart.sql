-- The rows of a view as a JSON array, or the problem in words where it cannot be read within so many milliseconds of
-- waiting for a lock. Whatever is wrong with the view or with what it reads, the caller goes on; a view whose columns
-- are not of the types that the callers read is wrong too.
CREATE FUNCTION rows_apart(view_name text, patience_ms int, OUT rows jsonb, OUT problem text)
RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET lock_timeout = '1s'
AS $$
DECLARE
    found jsonb;
BEGIN
    PERFORM set_config('lock_timeout', format('%sms', greatest(patience_ms, 1)), true);
    EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %I AS r', view_name) INTO found;
    PERFORM FROM jsonb_to_recordset(found) AS r (
        warning_at numeric, critical_at numeric, lower_is_worse boolean, value numeric, detected_at timestamptz,
        objects text[], silenced_until timestamptz
    );
    rows := found;
EXCEPTION
    WHEN lock_not_available THEN
        problem := coalesce(
            (
                SELECT format('%s.', string_agg(format('table %s is locked by process %s', l.relname, l.pid), ', '))
                FROM locked_tables() AS l
            ),
            'A lock was not given in time.'
        );
    WHEN query_canceled THEN
        -- By statement_timeout it is about this view. Whoever else cancels means the whole statement.
        IF current_setting('statement_timeout') = '0' OR clock_timestamp()
            < statement_timestamp() + current_setting('statement_timeout')::interval THEN
            RAISE;
        END IF;
        problem := 'It takes longer than a statement may.';
    WHEN insufficient_privilege THEN
        problem := format('The role %s may not read it.', current_user);
    WHEN undefined_table OR undefined_column OR undefined_function THEN
        problem := format('Something that it reads is missing: %s.', SQLERRM);
    WHEN OTHERS THEN
        problem := format('It fails: %s.', SQLERRM);
END
$$;
