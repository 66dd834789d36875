-- Writes into audit_log which account or role got or lost what: the row's ids, and the names they stood for at the
-- time.
CREATE FUNCTION audit_grant() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM record_audit(
        lower(TG_OP),
        TG_TABLE_NAME::text,
        CASE WHEN TG_OP = 'INSERT' THEN NEW.id ELSE OLD.id END::text,
        CASE WHEN TG_OP <> 'INSERT' THEN with_account_names(to_jsonb(OLD)) END,
        CASE WHEN TG_OP <> 'DELETE' THEN with_account_names(to_jsonb(NEW)) END
    );
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION audit_grant() FROM public;
