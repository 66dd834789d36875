-- What the issuer says of a person at each sign-in is no change of the link.
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON socialaccount_socialaccount
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'last_login', 'extra_data');
