CREATE TRIGGER set_updated_at BEFORE UPDATE ON health_checks
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON health_checks
FOR EACH ROW EXECUTE FUNCTION audit_row_change('check_name');
