CREATE TRIGGER check_key BEFORE INSERT OR UPDATE OF user_id, api_key_id ON entitlement_grants
FOR EACH ROW WHEN (new.api_key_id IS NOT NULL)
EXECUTE FUNCTION refuse_key_of_another();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON entitlement_grants
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
