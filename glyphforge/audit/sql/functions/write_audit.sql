-- Writes one row into audit_log, as record_audit() says, of any table; returns its id. It runs with the rights of who
-- calls it: nobody but the owner's functions may write there.
CREATE FUNCTION write_audit(
    action text,
    table_name text,
    row_id text DEFAULT NULL,
    old_values jsonb DEFAULT NULL,
    new_values jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    said CONSTANT text := nullif(left(current_setting('app.actor', true), 200), '');
    written bigint;
BEGIN
    INSERT INTO audit_log (
        actor, actor_kind, db_role, action, table_name, row_id, old_values, new_values, reason, request_id
    )
    VALUES (
        coalesce(said, session_user),
        CASE
            WHEN said IS NOT NULL AND current_setting('app.actor_kind', true) IN ('staff', 'system', 'api')
                THEN current_setting('app.actor_kind', true)
            ELSE 'sql'
        END,
        session_user,
        action,
        table_name,
        row_id,
        old_values,
        new_values,
        nullif(left(current_setting('app.reason', true), 2000), ''),
        nullif(left(current_setting('app.request_id', true), 200), '')
    )
    RETURNING id INTO written;
    RETURN written;
END
$$;
