-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER append_only_truncate ON audit_log_default;
DROP TRIGGER append_only_truncate ON audit_log;
DROP TRIGGER append_only ON audit_log;

DROP FUNCTION create_audit_log_partitions;

DROP FUNCTION cleanup_audit_log;

DROP TABLE audit_log;

DROP FUNCTION refuse_audit_change;

DROP FUNCTION audit_row_change;
