CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();
