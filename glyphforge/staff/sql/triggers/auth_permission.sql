-- That a release brings new ones gives nobody anything; another name under an old id does.
CREATE TRIGGER audit AFTER UPDATE OR DELETE ON auth_permission
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
