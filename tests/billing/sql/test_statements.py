"""What the operator's handbook shows runs as it stands; and the queries that matter find their index."""

import pytest
from django.db import connection

from tests.support import bulk
from tests.support.sql import Run

HANDBOOK = """
SELECT * FROM run_daily_maintenance();
SELECT cleanup_old_api_usage(90);
SELECT cleanup_webhook_events(30);
SELECT create_api_usage_partitions(3);
SELECT fix_orphaned_stripe_customers();
SELECT sync_subscription_usage();
SELECT * FROM find_stale_subscriptions();
SELECT start_webhook_processing('evt_xxxxx');
SELECT complete_webhook_processing('evt_xxxxx', NULL);
SELECT complete_webhook_processing('evt_xxxxx', 'Error message');
SELECT * FROM v_system_health;
SELECT * FROM v_orphaned_stripe_customers;
SELECT * FROM v_stale_subscriptions;
SELECT * FROM v_failed_webhook_events;
SELECT * FROM v_paid_users_without_keys;
SELECT * FROM v_high_volume_users;
SELECT * FROM v_users_near_limit;
SELECT * FROM v_repeated_failures;
SELECT * FROM v_slow_endpoints;
SELECT * FROM v_subscription_breakdown;
SELECT * FROM v_revenue_metrics;
SELECT * FROM v_user_growth;
SELECT * FROM v_api_usage_trends;
SELECT * FROM v_database_size;
SELECT * FROM v_database_connections;
SELECT * FROM v_long_running_queries;
SELECT * FROM v_api_key_usage_summary;
SELECT * FROM v_critical_alerts;
SELECT * FROM retry_failed_webhooks(3);
SELECT * FROM fix_orphaned_stripe_customers();
""".strip().splitlines()

INDEXED = {
    "SELECT 1 FROM users WHERE lower(email) = 'ada@example.com'": "users_email_key",
    "SELECT 1 FROM users WHERE upper(email) LIKE 'ADA%'": "users_email_prefix",
    "SELECT 1 FROM users WHERE stripe_customer_id = 'cus_1'": "users_stripe_customer_id_key",
    "SELECT 1 FROM subscriptions WHERE user_id = '00000000-0000-4000-8000-000000000001'"
    " AND status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate": (
        "subscriptions_one_live_per_user"
    ),
    "SELECT * FROM find_stale_subscriptions()": "subscriptions_due",
    "SELECT 1 FROM api_keys WHERE key_prefix LIKE 'glyph_sk_live_abc%'": "api_keys_prefix",
    'SELECT 1 FROM stripe_webhook_events WHERE payload @> \'{"data": {"object": {"customer": "cus_1"}}}\'': (
        "stripe_webhook_events_payload"
    ),
    "SELECT 1 FROM stripe_webhook_events WHERE status IN ('processed', 'ignored')"
    " AND coalesce(processed_at, received_at) < now() - interval '30 days'": "stripe_webhook_events_finished",
    "SELECT sum(amount_cents - refunded_cents) FROM payment_history WHERE paid_at >= now() - interval '30 days'": (
        "payment_history_paid_at"
    ),
    "SELECT 1 FROM payment_history WHERE stripe_invoice_id = 'in_1'": "payment_history_stripe_invoice_id",
    "SELECT 1 FROM audit_log WHERE table_name = 'users' AND row_id = '1' ORDER BY occurred_at": "table_name_row_id",
    'SELECT 1 FROM audit_log WHERE new_values @> \'{"status": "suspended"}\'': "new_values",
    "SELECT 1 FROM api_usage WHERE user_id = '00000000-0000-4000-8000-000000000001'"
    " AND created_at > now() - interval '1 day'": ("user_id_created_at"),
    "SELECT 1 FROM rate_limits WHERE expires_at <= now()": "rate_limits_expires_at",
    "SELECT user_id, count(*) FROM api_usage WHERE status_code >= 400"
    " AND created_at > now() - interval '1 hour' GROUP BY user_id": "created_at_user_id",
}


@pytest.mark.parametrize("statement", HANDBOOK)
def test_statement_of_the_handbook_runs(run: Run, statement: str) -> None:
    run(statement.replace("%", "%%"))


def test_no_search_path_is_needed(run: Run, key: str) -> None:
    """As behind a pooler or in a role of its own, where `public` is not searched."""
    run("SELECT create_api_usage_partitions(4)")
    views = run("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    run("SET LOCAL search_path = ''")
    run("SELECT public.record_api_usage(%s, '/', 'GET', 500, 1)", key)
    assert run("SELECT reason FROM public.check_rate_limit(%s)", key) == [("ok",)]
    for name in ("run_daily_maintenance", "run_weekly_maintenance"):
        assert run(f"SELECT task, error FROM public.{name}() WHERE status <> 'succeeded'") == []
    run("SELECT public.fold_traffic(), public.take_daily_snapshot()")
    for (view,) in views:
        run(f"SELECT * FROM public.{view}")
    assert run("SELECT message FROM public.v_system_health WHERE check_name = 'partitions_ahead'") == [
        ("api_usage: 4 months ahead, audit_log: 3 months ahead.",)
    ]


# Beside what `bulk` makes.
SEED = """
SELECT setseed(0.5);
UPDATE subscriptions SET current_period_end = now() + random() * interval '30 days', tier = 'starter';
UPDATE payment_history SET paid_at = now() - random() * interval '400 days';
INSERT INTO rate_limits (api_key_id, window_start, window_seconds, expires_at)
SELECT id, now(), 60, now() + random() * interval '1 hour' FROM api_keys;
ANALYZE users, subscriptions, api_keys, payment_history, stripe_webhook_events, api_usage, audit_log, rate_limits;
SET LOCAL enable_seqscan = off;
"""


def test_queries_find_their_index(db: None) -> None:
    found = {}
    with connection.cursor() as cursor:
        bulk.customers(cursor, 3000)
        bulk.of_each_customer(cursor, "payment_history", "api_keys", "stripe_webhook_events", "api_usage")
        cursor.execute(SEED)
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'find_stale_subscriptions'")
        stale = cursor.fetchone()[0]
        for query in INDEXED:
            cursor.execute(f"EXPLAIN {stale if 'find_stale' in query else query}")
            found[query] = "\n".join(line for (line,) in cursor.fetchall())
    assert {query: found[query] for query, index in INDEXED.items() if index not in found[query]} == {}


def test_functions_with_their_owners_rights_are_closed_to_the_public(run: Run) -> None:
    open_to_all = run(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p,"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a"
        " WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND a.grantee = 0"
    )
    assert open_to_all == []


def test_only_what_runs_for_every_request_pins_no_search_path(run: Run) -> None:
    """The trigger names its one table in full; the endpoint reads none and is written into the statements that call it;
    the callers of the limit pin one, and nobody else may call it."""
    loose = run(
        "SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace"
        " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')"
        " AND coalesce(array_to_string(p.proconfig, ' '), '') NOT LIKE '%search_path=public, pg_temp%'"
    )
    assert sorted(loose) == [("count_api_usage",), ("take_rate_limit",), ("traffic_endpoint",)]
