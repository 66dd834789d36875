CREATE TRIGGER check_key BEFORE INSERT ON usage_corrections
FOR EACH ROW WHEN (new.api_key_id IS NOT NULL)
EXECUTE FUNCTION refuse_key_of_another();

CREATE TRIGGER number_correction BEFORE INSERT ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION number_usage_correction();

CREATE TRIGGER count_correction AFTER INSERT ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION count_usage_correction();

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION refuse_usage_correction_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON usage_corrections
FOR EACH STATEMENT EXECUTE FUNCTION refuse_usage_correction_change();

CREATE TRIGGER audit AFTER INSERT OR DELETE ON usage_corrections
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
