CREATE TRIGGER keep_erased BEFORE INSERT OR UPDATE ON users
FOR EACH ROW WHEN (new.erased_at IS NOT NULL) EXECUTE FUNCTION keep_erased();

CREATE TRIGGER refuse_revival BEFORE UPDATE OF erased_at ON users
FOR EACH ROW WHEN (old.erased_at IS NOT NULL AND new.erased_at IS DISTINCT FROM old.erased_at)
EXECUTE FUNCTION refuse_unerasing();

CREATE TRIGGER keep_suspension BEFORE INSERT OR UPDATE OF status ON users
FOR EACH ROW EXECUTE FUNCTION keep_suspension();

CREATE TRIGGER link_primary_customer AFTER INSERT ON users
FOR EACH ROW WHEN (new.stripe_customer_id IS NOT NULL) EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER relink_primary_customer AFTER UPDATE OF stripe_customer_id ON users
FOR EACH ROW WHEN (old.stripe_customer_id IS DISTINCT FROM new.stripe_customer_id)
EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_free_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'suspended_at');
