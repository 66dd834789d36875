-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('counted_subscriptions', 'failing_users', 'fresh_key_usage', 'health_of_backups', 'health_of_requests', 'health_of_security', 'last_job_runs', 'health_of_schema', 'job_health', 'health_of_queue', 'paying_subscriptions', 'recent_requests', 'v_api_key_usage_summary', 'v_api_usage_trends', 'v_database_connections', 'health_of_server', 'v_database_size', 'v_failed_webhook_events', 'v_high_volume_users', 'v_long_running_queries', 'v_orphaned_stripe_customers', 'v_paid_users_without_keys', 'v_repeated_failures', 'v_revenue_metrics', 'v_slow_endpoints', 'v_stale_subscriptions', 'v_subscription_breakdown', 'v_user_growth', 'v_users_near_limit', 'health_of_billing', 'judged_health', 'v_alerts', 'v_critical_alerts', 'v_system_health') AND a.grantee <> c.relowner;

DROP VIEW v_system_health;
DROP VIEW v_critical_alerts;
DROP VIEW v_alerts;
DROP VIEW judged_health;
DROP VIEW health_of_billing;
DROP VIEW v_users_near_limit;
DROP VIEW v_user_growth;
DROP VIEW v_subscription_breakdown;
DROP VIEW v_stale_subscriptions;
DROP VIEW v_slow_endpoints;
DROP VIEW v_revenue_metrics;
DROP VIEW v_repeated_failures;
DROP VIEW v_paid_users_without_keys;
DROP VIEW v_orphaned_stripe_customers;
DROP VIEW v_long_running_queries;
DROP VIEW v_high_volume_users;
DROP VIEW v_failed_webhook_events;
DROP VIEW v_database_size;
DROP VIEW health_of_server;
DROP VIEW v_database_connections;
DROP VIEW v_api_usage_trends;
DROP VIEW v_api_key_usage_summary;
DROP VIEW recent_requests;
DROP VIEW paying_subscriptions;
DROP VIEW health_of_queue;
DROP VIEW job_health;
DROP VIEW health_of_schema;
DROP VIEW last_job_runs;
DROP VIEW health_of_security;
DROP VIEW health_of_requests;
DROP VIEW health_of_backups;
DROP VIEW fresh_key_usage;
DROP VIEW failing_users;
DROP VIEW counted_subscriptions;

DROP TRIGGER book_mrr_when_removed ON subscriptions;
DROP TRIGGER book_mrr_when_changed ON subscriptions;
DROP TRIGGER book_mrr_when_added ON subscriptions;

DROP TRIGGER refuse_truncate ON mrr_movements;
DROP TRIGGER refuse_change ON mrr_movements;

DROP TRIGGER audit ON health_checks;
DROP TRIGGER set_updated_at ON health_checks;

DROP INDEX subscriptions_paying;
DROP INDEX subscriptions_live_limits;

DROP INDEX payment_history_effective_at;

DROP INDEX api_usage_created_at;

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION take_daily_snapshot;

DROP FUNCTION refresh_daily_mrr;

DROP FUNCTION refresh_daily_figures;

DROP FUNCTION reconcile_mrr;

DROP FUNCTION rebuild_mrr_history;

DROP FUNCTION fold_traffic_between;

DROP FUNCTION fold_traffic;

DROP FUNCTION find_stale_subscriptions;

DROP FUNCTION cleanup_alerts;

DROP FUNCTION book_mrr_difference;

DROP TABLE worker_heartbeats;

DROP TABLE traffic_user_days;

DROP TABLE traffic_progress;

DROP TABLE traffic_latency_hours;

DROP TABLE traffic_key_months;

DROP TABLE traffic_hours;

DROP TABLE traffic_days;

DROP TABLE notifications;

DROP TABLE mrr_movements;

DROP TABLE job_schedules;

DROP TABLE job_runs;

DROP TABLE health_checks;

DROP TABLE daily_mrr;

DROP TABLE daily_figures;

DROP TABLE alerts;

DROP FUNCTION refuse_mrr_movement_change;

DROP FUNCTION book_mrr_movement;

--!
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN SELECT k.statement FROM kept_rights AS k LOOP
        EXECUTE kept.statement;
    END LOOP;
END
$$;
