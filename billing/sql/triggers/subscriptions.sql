-- Triggers fire in the order of their names: the guard and the completion come before set_updated_at compares the row.
CREATE TRIGGER complete_subscription BEFORE INSERT OR UPDATE OF tier, status, monthly_request_limit ON subscriptions
FOR EACH ROW EXECUTE FUNCTION complete_subscription();

CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, usage_synced_at ON subscriptions
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_subscription_counters();

CREATE TRIGGER name_customer BEFORE INSERT ON subscriptions
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_subscription_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

-- Counting is no change of the subscription: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON subscriptions
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.usage_synced_at IS NOT DISTINCT FROM new.usage_synced_at
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the sync moves for every user: it must not pay for an audit.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, tier, status, stripe_subscription_id, stripe_customer_id, stripe_price_id, quantity, price_cents,
currency, "interval", current_period_start, current_period_end, cancel_at_period_end, cancel_at, canceled_at,
trial_end, collection_paused, collection_resumes_at, stripe_schedule_id, is_duplicate, monthly_request_limit, created_at
ON subscriptions
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'usage_synced_at');
