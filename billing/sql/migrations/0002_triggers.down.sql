DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT t.tgname, t.tgrelid::regclass AS relation
        FROM pg_trigger AS t
        WHERE NOT t.tgisinternal AND t.tgparentid = 0
            AND t.tgname IN ('count_usage', 'append_only_truncate') AND t.tgrelid <> ALL ('{api_usage,audit_log}'::regclass[])
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.relation);
    END LOOP;
END
$$;

DROP TRIGGER guard_counters ON api_keys;
DROP TRIGGER keep_revoked ON api_keys;
DROP TRIGGER set_updated_at ON api_keys;
DROP TRIGGER audit ON api_keys;
DROP TRIGGER count_usage ON api_usage;
DROP TRIGGER keep_counted ON api_usage;
DROP TRIGGER append_only ON audit_log;
DROP TRIGGER append_only_truncate ON audit_log;
DROP TRIGGER set_updated_at ON payment_history;
DROP TRIGGER set_updated_at ON plan_prices;
DROP TRIGGER audit ON plan_prices;
DROP TRIGGER set_updated_at ON plans;
DROP TRIGGER audit ON plans;
DROP TRIGGER set_updated_at ON stripe_webhook_events;
DROP TRIGGER complete_subscription ON subscriptions;
DROP TRIGGER guard_counters ON subscriptions;
DROP TRIGGER set_updated_at ON subscriptions;
DROP TRIGGER audit ON subscriptions;
DROP TRIGGER set_updated_at ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER audit ON users;

DROP FUNCTION fix_orphaned_stripe_customers;
DROP FUNCTION retry_failed_webhooks;
DROP FUNCTION complete_webhook_processing;
DROP FUNCTION start_webhook_processing;
DROP FUNCTION create_audit_log_partitions;
DROP FUNCTION create_api_usage_partitions;
DROP FUNCTION create_monthly_partitions;
DROP FUNCTION create_monthly_partition;
DROP FUNCTION monthly_partitions;
DROP FUNCTION sync_subscription_usage;
DROP FUNCTION roll_up_usage;
DROP FUNCTION count_api_usage;
DROP FUNCTION refuse_usage_change;
DROP FUNCTION refuse_audit_change;
DROP FUNCTION audit_row_change;
DROP FUNCTION keep_api_key_revoked;
DROP FUNCTION guard_subscription_counters;
DROP FUNCTION guard_api_key_counters;
DROP FUNCTION complete_subscription;
DROP FUNCTION create_default_subscriptions;
DROP FUNCTION set_updated_at;
