CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE ON djstripe_invoice
FOR EACH ROW EXECUTE FUNCTION erase_arriving('stripe_data');
