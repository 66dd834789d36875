CREATE TRIGGER keep_primary BEFORE INSERT OR UPDATE ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION keep_primary_customer();

CREATE TRIGGER follow_primary AFTER DELETE OR UPDATE OF user_id ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION follow_primary_customer();

CREATE TRIGGER release_waiting AFTER INSERT OR UPDATE OF user_id ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION release_waiting_events('stripe_customer_id');

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON stripe_customers
FOR EACH ROW EXECUTE FUNCTION audit_row_change('stripe_customer_id');
