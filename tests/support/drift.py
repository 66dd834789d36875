"""Drift: what somebody did to the database by hand."""

from django.db import connection

# What somebody did by hand, and what `database verify` has to say about it.
SABOTAGE = {
    "ALTER TABLE users ALTER COLUMN name TYPE varchar(80)": "different column users.name",
    "ALTER TABLE users ALTER COLUMN status DROP DEFAULT": "different column users.status",
    "ALTER TABLE users ALTER COLUMN created_at DROP NOT NULL": "different column users.created_at",
    "ALTER TABLE payment_history DROP COLUMN next_attempt_at": "missing column payment_history.next_attempt_at",
    "ALTER TABLE api_keys ADD COLUMN plain_key text": "extra column api_keys.plain_key",
    "DROP TABLE plan_prices CASCADE": "missing table plan_prices",
    "CREATE TABLE users_backup AS SELECT 1 AS x": "extra table users_backup",
    "ALTER TABLE rate_limits SET LOGGED": "different table rate_limits",
    "ALTER TABLE api_usage_deltas RESET (autovacuum_vacuum_threshold)": "different table api_usage_deltas",
    "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_status_known": (
        "missing constraint subscriptions.subscriptions_status_known"
    ),
    "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_price_not_negative,"
    " ADD CONSTRAINT subscriptions_price_not_negative CHECK (price_cents >= -1)": (
        "different constraint subscriptions.subscriptions_price_not_negative"
    ),
    "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_user_id_fkey,"
    " ADD CONSTRAINT subscriptions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users": (
        "different constraint subscriptions.subscriptions_user_id_fkey"
    ),
    "DROP INDEX subscriptions_one_live_per_user": "missing index subscriptions.subscriptions_one_live_per_user",
    "CREATE INDEX api_keys_usage ON api_keys (usage_count)": "extra index api_keys.api_keys_usage",
    "DROP INDEX users_email_key; CREATE UNIQUE INDEX users_email_key ON users (email)": (
        "different index users.users_email_key"
    ),
    "DROP INDEX api_usage_failures": "missing index api_usage.api_usage_failures",
    "ALTER TABLE users DISABLE TRIGGER default_subscription": "different trigger users.default_subscription",
    "DROP TRIGGER audit ON api_keys": "missing trigger api_keys.audit",
    "CREATE TRIGGER audit_again AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION audit_row_change('id')": (
        "extra trigger users.audit_again"
    ),
    "CREATE TRIGGER spy AFTER INSERT ON auth_user FOR EACH ROW EXECUTE FUNCTION audit_row_change('id')": (
        "extra trigger auth_user.spy"
    ),
    "CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp"
    " AS 'BEGIN RETURN NEW; END'": "different function set_updated_at()",
    "ALTER FUNCTION roll_up_usage() RESET search_path": "different function roll_up_usage()",
    "ALTER FUNCTION check_rate_limit(uuid) SECURITY INVOKER": "different function check_rate_limit(api_key_id uuid)",
    "GRANT EXECUTE ON FUNCTION cleanup_audit_log(int) TO PUBLIC": "different function cleanup_audit_log(days integer)",
    "DROP FUNCTION find_stale_subscriptions()": "missing function find_stale_subscriptions()",
    "CREATE FUNCTION cleanup_rate_limits(days int) RETURNS int LANGUAGE sql AS 'SELECT 1'": (
        "extra function cleanup_rate_limits(days integer)"
    ),
    "CREATE OR REPLACE VIEW monthly_usage_summary AS SELECT user_id, month, total_requests, successful_requests,"
    " failed_requests, total_response_time_ms, max_response_time_ms, last_request_at, throttled_requests, server_errors"
    " FROM monthly_usage_totals": ("different view monthly_usage_summary"),
    "DROP VIEW v_failed_webhook_events CASCADE": "missing view v_failed_webhook_events",
    "CREATE VIEW v_everything AS SELECT 1 AS x": "extra view v_everything",
    "ALTER SEQUENCE audit_log_id_seq CYCLE": "different sequence audit_log_id_seq",
    "CREATE TYPE mood AS ENUM ('ok')": "extra type mood",
    "DROP TABLE audit_log_{ahead}": "missing partition audit_log_{ahead}",
    "ALTER TABLE api_usage_{ahead} DISABLE TRIGGER count_usage": "different partition api_usage_{ahead}",
    "ALTER TABLE django_q_task ALTER COLUMN name TYPE text": "different column django_q_task.name",
    "ALTER TABLE djstripe_price DROP COLUMN nickname": "missing column djstripe_price.nickname",
    "DELETE FROM django_migrations WHERE app = 'billing' AND name = '0001_baseline'": (
        "missing migration billing.0001_baseline"
    ),
}
# What only a superuser can do in one statement.
SUPERUSERS_SABOTAGE = {
    "ALTER TABLE payment_history OWNER TO pg_monitor": "different table payment_history",
    "ALTER FUNCTION sync_subscription_usage() OWNER TO pg_monitor": "different function sync_subscription_usage()",
    "ALTER TABLE api_keys DISABLE TRIGGER ALL": "different constraint api_keys.api_keys_user_id_fkey",
}


def month_ahead() -> str:
    """The month after next, as partitions are named; `{ahead}` stands for it in the statements."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2 months', 'YYYY_MM')")
        return str(cursor.fetchone()[0])
