-- PostgreSQL clones the row trigger to every partition, but not the one for TRUNCATE.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log_default
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
