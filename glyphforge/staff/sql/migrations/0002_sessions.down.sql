-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER end_sessions ON auth_user;
DROP TRIGGER name_not_reserved ON auth_user;
-- A sign-in, which moves last_login, has a row of its own. No columns are named: Django's migrations may change them.
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_user
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_login');

DROP TRIGGER end_sessions ON mfa_authenticator;
DROP TRIGGER end_sessions_update ON mfa_authenticator;
CREATE OR REPLACE TRIGGER audit AFTER INSERT OR DELETE ON mfa_authenticator
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_used_at', 'secret:data');

-- Which code was used last is no change of the factor; another secret is.
CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE ON mfa_authenticator
FOR EACH ROW
WHEN (
    (old.data - '{last_step, used_mask, viewed_at}'::text[])
    IS DISTINCT FROM (new.data - '{last_step, used_mask, viewed_at}'::text[])
    OR (old.id, old.user_id, old.type) IS DISTINCT FROM (new.id, new.user_id, new.type)
)
EXECUTE FUNCTION audit_row_change('id', 'last_used_at', 'secret:data');

DROP FUNCTION is_reserved_name;

DROP TABLE staff_sessions;

DROP FUNCTION refuse_reserved_name;

DROP FUNCTION end_staff_sessions;
