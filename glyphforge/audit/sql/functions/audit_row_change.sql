-- Writes who changed a row, and only what changed, into audit_log by record_audit(). The first argument names the
-- table's key column; the others name its counters, which like updated_at are no changes. Secrets and hashes are
-- masked, by the name of their column; so is a column that an argument names with `secret:` before it.
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
    old_values jsonb;
    new_values jsonb;
BEGIN
    SELECT
        jsonb_object_agg(c.name, CASE WHEN c.is_secret THEN '"[masked]"' ELSE before -> c.name END)
            FILTER (WHERE jsonb_typeof(before -> c.name) <> 'null' OR TG_OP = 'UPDATE'),
        jsonb_object_agg(c.name, CASE WHEN c.is_secret THEN '"[masked]"' ELSE after -> c.name END)
            FILTER (WHERE jsonb_typeof(after -> c.name) <> 'null' OR TG_OP = 'UPDATE')
    INTO old_values, new_values
    FROM (
        SELECT k.name, k.name ~ '(hash|secret|password|token)' OR 'secret:' || k.name = ANY (TG_ARGV) AS is_secret
        FROM jsonb_object_keys(coalesce(after, before)) AS k (name)
    ) AS c
    WHERE c.name <> ALL (not_audited) AND before -> c.name IS DISTINCT FROM after -> c.name;

    IF TG_OP = 'UPDATE' AND new_values IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM record_audit(
        lower(TG_OP),
        TG_TABLE_NAME::text,
        key,
        CASE WHEN TG_OP <> 'INSERT' THEN old_values END,
        CASE WHEN TG_OP <> 'DELETE' THEN new_values END
    );
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION audit_row_change() FROM public;
