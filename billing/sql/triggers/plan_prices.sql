CREATE TRIGGER release_waiting AFTER INSERT OR UPDATE ON plan_prices
FOR EACH ROW EXECUTE FUNCTION release_waiting_events('stripe_price_id');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON plan_prices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON plan_prices
FOR EACH ROW EXECUTE FUNCTION audit_row_change('stripe_price_id');
