-- Writes who changed a row, and only what changed, into audit_log. The first argument names the table's key column; the
-- others name its counters, which like updated_at are no changes. Actor, reason and request id come from the settings
-- app.actor, app.reason and app.request_id, cut to 200 characters (the reason to 2,000); without an actor the session's
-- role stands. Secrets and hashes are masked.
CREATE FUNCTION audit_row_change() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    key text := coalesce(after, before) ->> TG_ARGV[0];
    not_audited CONSTANT text[] := array_append(TG_ARGV[1:], 'updated_at');
    secret CONSTANT text := '(hash|secret|password|token)';
    old_values jsonb;
    new_values jsonb;
BEGIN
    SELECT
        jsonb_object_agg(c.name, CASE WHEN c.name ~ secret THEN '"[masked]"' ELSE before -> c.name END)
            FILTER (WHERE jsonb_typeof(before -> c.name) <> 'null' OR TG_OP = 'UPDATE'),
        jsonb_object_agg(c.name, CASE WHEN c.name ~ secret THEN '"[masked]"' ELSE after -> c.name END)
            FILTER (WHERE jsonb_typeof(after -> c.name) <> 'null' OR TG_OP = 'UPDATE')
    INTO old_values, new_values
    FROM jsonb_object_keys(coalesce(after, before)) AS c (name)
    WHERE c.name <> ALL (not_audited) AND before -> c.name IS DISTINCT FROM after -> c.name;

    IF TG_OP = 'UPDATE' AND new_values IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_log (actor, action, table_name, row_id, old_values, new_values, reason, request_id)
    VALUES (
        coalesce(nullif(left(current_setting('app.actor', true), 200), ''), session_user),
        lower(TG_OP),
        TG_TABLE_NAME,
        key,
        CASE WHEN TG_OP <> 'INSERT' THEN old_values END,
        CASE WHEN TG_OP <> 'DELETE' THEN new_values END,
        nullif(left(current_setting('app.reason', true), 2000), ''),
        nullif(left(current_setting('app.request_id', true), 200), '')
    );
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION audit_row_change() FROM public;
