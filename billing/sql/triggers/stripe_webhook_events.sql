CREATE TRIGGER erase_arriving BEFORE INSERT OR UPDATE OF payload ON stripe_webhook_events
FOR EACH ROW WHEN (new.payload <> '{}') EXECUTE FUNCTION erase_arriving('payload');

CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_webhook_events
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();
