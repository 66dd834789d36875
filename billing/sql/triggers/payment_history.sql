CREATE TRIGGER erase_links BEFORE INSERT OR UPDATE OF user_id, invoice_url, receipt_url ON payment_history
FOR EACH ROW WHEN (new.invoice_url IS NOT NULL OR new.receipt_url IS NOT NULL)
EXECUTE FUNCTION erase_document_links('invoice_url', 'receipt_url');

CREATE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

-- Whose it was before, or what it was, is said nowhere else.
CREATE TRIGGER audit_moved AFTER UPDATE OF user_id ON payment_history
FOR EACH ROW WHEN (old.user_id IS DISTINCT FROM new.user_id) EXECUTE FUNCTION audit_row_change('id');

CREATE TRIGGER audit_deleted AFTER DELETE ON payment_history
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');
