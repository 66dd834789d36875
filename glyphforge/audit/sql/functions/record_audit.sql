-- Writes one row into audit_log; returns its id. Nobody but this function may write there: the time is the
-- transaction's, db_role the role that logged in, whatever the caller says. Actor, kind of actor, reason and request id
-- come from the settings app.actor, app.actor_kind, app.reason and app.request_id, cut to 200 characters (the reason to
-- 2,000). Without an actor the role that logged in stands; without a kind that is known it is `sql`: somebody at the
-- database itself.
CREATE FUNCTION record_audit(
    action text,
    table_name text,
    row_id text DEFAULT NULL,
    old_values jsonb DEFAULT NULL,
    new_values jsonb DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    IF table_name = 'audit_log' AND NOT is_owner_of('audit_log') THEN
        RAISE EXCEPTION 'record_audit: what happens to audit_log is recorded by what does it'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Name the table that was changed.';
    END IF;
    RETURN write_audit(action, table_name, row_id, old_values, new_values);
END
$$;

REVOKE EXECUTE ON FUNCTION record_audit(text, text, text, jsonb, jsonb) FROM public;
