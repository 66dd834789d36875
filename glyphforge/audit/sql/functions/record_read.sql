-- Writes into read_log that the actor of the settings (see record_audit) looked at a row; without one the role that
-- logged in stands.
CREATE FUNCTION record_read(table_name text, row_id text) RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    INSERT INTO read_log (actor, table_name, row_id, request_id, db_role)
    VALUES (
        coalesce(nullif(left(current_setting('app.actor', true), 200), ''), session_user),
        record_read.table_name,
        record_read.row_id,
        nullif(left(current_setting('app.request_id', true), 200), ''),
        session_user
    )
$$;

REVOKE EXECUTE ON FUNCTION record_read(text, text) FROM public;
