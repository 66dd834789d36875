CREATE TRIGGER erase_links BEFORE INSERT OR UPDATE OF user_id, hosted_invoice_url ON open_invoices
FOR EACH ROW WHEN (new.hosted_invoice_url IS NOT NULL) EXECUTE FUNCTION erase_document_links('hosted_invoice_url');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();
