-- Only retention and the draining of the default partition, run by the table's owner, may remove rows; they set
-- app.audit_retention for their own duration.
CREATE FUNCTION refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND current_setting('app.audit_retention', true) = 'on'
        AND pg_has_role((SELECT c.relowner FROM pg_class AS c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit_log: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s on %s was refused.', TG_OP, TG_TABLE_NAME);
END
$$;
