-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! functions/audit_grant
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

--! functions/with_account_names
-- A row that names an account, a role or a permission by its id, with the names beside the ids, as far as they are
-- known.
CREATE FUNCTION with_account_names(entry jsonb) RETURNS jsonb
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT entry || jsonb_strip_nulls(jsonb_build_object(
        'user', (SELECT u.username FROM auth_user AS u WHERE u.id = (entry ->> 'user_id')::int),
        'group', (SELECT g.name FROM auth_group AS g WHERE g.id = (entry ->> 'group_id')::int),
        'permission', (
            SELECT t.app_label::text || '.' || p.codename::text
            FROM auth_permission AS p
            INNER JOIN django_content_type AS t ON p.content_type_id = t.id
            WHERE p.id = (entry ->> 'permission_id')::int
        )
    ))
$$;

--! triggers/account_emailaddress
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON account_emailaddress
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/auth_group
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_group
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/auth_group_permissions
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_group_permissions
FOR EACH ROW EXECUTE FUNCTION audit_grant();

--! triggers/auth_permission
-- That a release brings new ones gives nobody anything; another name under an old id does.
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON auth_permission
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! triggers/auth_user
-- A sign-in, which moves last_login, has a row of its own. No columns are named: Django's migrations may change them.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_user
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_login');

--! triggers/auth_user_groups
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_user_groups
FOR EACH ROW EXECUTE FUNCTION audit_grant();

--! triggers/auth_user_user_permissions
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_user_user_permissions
FOR EACH ROW EXECUTE FUNCTION audit_grant();

--! triggers/mfa_authenticator
CREATE TRIGGER audit AFTER INSERT OR DELETE ON mfa_authenticator
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_used_at', 'secret:data');

-- Which code was used last is no change of the factor; another secret is.
CREATE TRIGGER audit_update AFTER UPDATE ON mfa_authenticator
FOR EACH ROW
WHEN (
    (old.data - '{last_step, used_mask, viewed_at}'::text[])
    IS DISTINCT FROM (new.data - '{last_step, used_mask, viewed_at}'::text[])
    OR (old.id, old.user_id, old.type) IS DISTINCT FROM (new.id, new.user_id, new.type)
)
EXECUTE FUNCTION audit_row_change('id', 'last_used_at', 'secret:data');

--! triggers/socialaccount_socialaccount
-- What the issuer says of a person at each sign-in is no change of the link.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON socialaccount_socialaccount
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_login', 'extra_data');
