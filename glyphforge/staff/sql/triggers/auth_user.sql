-- A sign-in, which moves last_login, has a row of its own. No columns are named: Django's migrations may change them.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON auth_user
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_login');

CREATE TRIGGER end_sessions AFTER UPDATE ON auth_user
FOR EACH ROW EXECUTE FUNCTION end_staff_sessions();

CREATE TRIGGER name_not_reserved BEFORE INSERT OR UPDATE ON auth_user
FOR EACH ROW EXECUTE FUNCTION refuse_reserved_name();
