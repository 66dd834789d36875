CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_cases
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();
