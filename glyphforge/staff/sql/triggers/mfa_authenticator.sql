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

CREATE TRIGGER end_sessions AFTER DELETE ON mfa_authenticator
FOR EACH ROW EXECUTE FUNCTION end_staff_sessions();

CREATE TRIGGER end_sessions_update AFTER UPDATE ON mfa_authenticator
FOR EACH ROW
WHEN (
    (old.data - '{last_step, used_mask, viewed_at, name}'::text[])
    IS DISTINCT FROM (new.data - '{last_step, used_mask, viewed_at, name}'::text[])
    OR (old.user_id, old.type) IS DISTINCT FROM (new.user_id, new.type)
)
EXECUTE FUNCTION end_staff_sessions();
