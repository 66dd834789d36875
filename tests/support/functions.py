"""Every function of the project, called once each on the same rows, and all that comes of it as plain values.

What a session's settings or other people's objects change shows when two runs are compared.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from django.db import connection

from glyphforge.database import desired
from tests.support import account_functions, erasing_calls, factories
from tests.support.outcomes import Outcome, Rows
from tests.support.sql import ago, insert, run

DECLARED = """
SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
TODAY = datetime.now(UTC).date()
LAST_WEEK = TODAY - timedelta(days=7)
LATER, LATEST = (TODAY.replace(year=TODAY.year + years, day=1) for years in (3, 4))
KEY = "00000000-0000-4000-8000-0000000000aa"
PAYMENT = "00000000-0000-4000-8000-0000000000bb"
USER = "00000000-0000-4000-8000-00000000000a"
# The statements that call each function, a trigger's by firing it, in an order in which each has something to do. They
# call no operator and no function but those, and say no date that a session could read in another way.
CALLS: dict[str, tuple[str, ...]] = {
    "count_api_usage": (
        f"""
        INSERT INTO public.api_usage (user_id, api_key_id, endpoint, method, status_code, response_time_ms)
        SELECT '{USER}', '{KEY}', '/v1/a', 'GET', 200, n FROM generate_series(1, 120) AS n
        """,
        f"""
        INSERT INTO public.api_usage (user_id, endpoint, method, status_code, response_time_ms, created_at)
        VALUES
            ('{USER}', '/v1/b', 'GET', 500, 3, '{LATER}T00:00:00+05:30'),
            ('{USER}', '/v1/b', 'GET', 200, 30, '{LATER}T05:00:00+00')
        """,
    ),
    "refuse_usage_change": ("UPDATE public.api_usage SET status_code = 201",),
    "record_api_usage": (
        f"SELECT public.record_api_usage('{KEY}', '/v1/c', 'GET', 404, 7, request_id => 'r', ip_address => '::1')",
        f"SELECT public.record_api_usage('{KEY}', '/v1/c', 'GET', 404, 7, request_id => 'r')",
        "SELECT public.record_api_usage(NULL, '/v1/c', 'GET', 200, 7)",
    ),
    "check_rate_limit": (
        f"SELECT * FROM public.check_rate_limit('{KEY}')",
        f"SELECT * FROM public.check_rate_limit('{USER}')",
        "SELECT * FROM public.check_rate_limit(NULL)",
    ),
    "lease_rate_limit": (
        f"SELECT granted, reason FROM public.lease_rate_limit('{KEY}', 3)",
        f"SELECT * FROM public.lease_rate_limit('{USER}', 3)",
        f"SELECT * FROM public.lease_rate_limit('{KEY}', 0)",
        "SELECT * FROM public.lease_rate_limit(NULL, 1)",
    ),
    # Called by the two above, and by nobody else.
    "take_rate_limit": (),
    "recorded_requests": (
        f"SELECT * FROM public.recorded_requests('{USER}', '{TODAY:%Y-%m}-01T00:00:00Z', 1001, 0)",
        f"SELECT * FROM public.recorded_requests('{USER}', '{TODAY:%Y-%m}-01T00:00:00Z', 1000, NULL)",
    ),
    "correct_usage": (
        f"SELECT public.correct_usage('{USER}', '{TODAY:%Y-%m}-01', 7, 'r', '{KEY}', 'once')",
        f"SELECT public.correct_usage('{USER}', '{TODAY:%Y-%m}-01', 7, 'r', '{KEY}', 'once')",
        f"SELECT public.correct_usage('{USER}', '{TODAY:%Y-%m}-01', -99999, 'r')",
        f"SELECT public.correct_usage('{USER}', '{LATER}', 7, 'r')",
    ),
    # Fired by the one above.
    "number_usage_correction": (),
    "count_usage_correction": (),
    "refuse_usage_correction_change": ("DELETE FROM public.usage_corrections", "TRUNCATE public.usage_corrections"),
    "refuse_key_of_another": (
        f"""
        INSERT INTO public.entitlement_grants (user_id, api_key_id, extra_requests, ends_at, reason)
        VALUES ('{USER}', '{PAYMENT}', 5, '{LATER}T00:00:00Z', 'r')
        """,
        f"""
        INSERT INTO public.entitlement_grants (user_id, api_key_id, extra_requests, ends_at, reason)
        VALUES ('{USER}', '{KEY}', 5, '{LATER}T00:00:00Z', 'r')
        """,
    ),
    "is_rate_limit_permit_taken": (
        f"SELECT public.is_rate_limit_permit_taken('{KEY}', 60, '{TODAY}T00:00:00Z', '{LATER}T00:00:00Z', 1)",
    ),
    "number_rate_limit_permits": (
        f"""
        SELECT * FROM public.number_rate_limit_permits(
            '{KEY}', 60, '{TODAY}T00:00:00Z', '{LATER}T00:00:00Z', 1, 1, 9, 3
        )
        """,
    ),
    "last_rate_limit_permit": (f"SELECT public.last_rate_limit_permit('{KEY}', 60, '{TODAY}T00:00:00Z')",),
    "take_rate_limit_permits": (
        f"""
        SELECT * FROM public.take_rate_limit_permits(
            '{KEY}', '{USER}', 2, 50, 2000, 0, 0, '{LAST_WEEK}T00:00:00Z', '{LAST_WEEK}T00:00:00Z', '{LATER}T00:00:00Z'
        )
        """,
    ),
    "book_payment_totals": (
        f"""
        INSERT INTO public.payment_history
            (id, user_id, stripe_charge_id, amount_cents, refunded_cents, status, paid_at, created_at, updated_at)
        SELECT
            '{PAYMENT}', '{USER}', 'ch_1', 900, 100, 'partially_refunded', t.at, t.at, t.at
        FROM (SELECT '{LAST_WEEK}T23:00:00-03:00'::timestamptz AS at) AS t
        """,
    ),
    "post_payment_totals": (f"SELECT public.post_payment_totals('{{{PAYMENT}}}', true)",),
    "sum_payment_movements": (
        f"""
        INSERT INTO public.payment_movements
            (payment_id, kind, stripe_object_id, amount_cents, currency, occurred_at)
        VALUES ('{PAYMENT}', 'dispute', 'du_1', -50, 'usd', '{TODAY}T01:00:00+00')
        """,
    ),
    "refuse_payment_movement_change": ("DELETE FROM public.payment_movements",),
    "fold_traffic": ("SELECT public.fold_traffic()", "SELECT public.fold_traffic(0)"),
    "fold_traffic_between": ("SELECT public.fold_traffic_between(0, 9223372036854775807)",),
    "fold_traffic_range": ("SELECT public.fold_traffic_range(0, 9223372036854775806)",),
    "traffic_endpoint": ("SELECT public.traffic_endpoint('/v1/a')",),
    "roll_up_usage_of": (f"SELECT public.roll_up_usage_of('{{{USER}}}')",),
    "roll_up_usage": ("SELECT public.roll_up_usage()",),
    "sync_subscription_usage": ("SELECT public.sync_subscription_usage()",),
    "create_free_subscriptions": ("INSERT INTO public.users (email, name) VALUES ('eve@example.com', 'Eve')",),
    "complete_subscription": ("UPDATE public.subscriptions SET tier = 'enterprise'",),
    "guard_subscription_counters": ("UPDATE public.subscriptions SET usage_count = 7",),
    "guard_api_key_counters": ("UPDATE public.api_keys SET usage_count = 7, last_used_at = NULL",),
    "keep_api_key_revoked": ("UPDATE public.api_keys SET revoked_at = NULL",),
    "set_updated_at": ("UPDATE public.users SET name = 'Grace'",),
    "audit_row_change": (f"UPDATE public.api_keys SET name = 'Backup', expires_at = '{LATER}T00:00:00+00'",),
    "refuse_audit_change": ("DELETE FROM public.audit_log",),
    "refuse_mrr_movement_change": ("DELETE FROM public.mrr_movements", "TRUNCATE public.mrr_movements"),
    "refuse_unknown_task": (
        "INSERT INTO public.django_q_schedule (func, schedule_type, repeats) VALUES ('os.system', 'O', 1)",
        "UPDATE public.django_q_schedule SET args = NULL",
    ),
    "book_mrr_movement": (
        f"UPDATE public.subscriptions SET price_cents = 990, current_period_end = '{LATER}T00:00:00Z'",
    ),
    "book_mrr_difference": (f"SELECT FROM public.book_mrr_difference('{USER}', NULL)",),
    "reconcile_mrr": ("SELECT public.reconcile_mrr()",),
    "refresh_daily_mrr": (
        f"SELECT public.refresh_daily_mrr('{LAST_WEEK}')",
        f"SELECT public.refresh_daily_mrr('{LATER}')",
    ),
    "refresh_daily_figures": (
        f"SELECT public.refresh_daily_figures('{LAST_WEEK}')",
        f"SELECT public.refresh_daily_figures('{LATER}')",
    ),
    "take_daily_snapshot": ("SELECT public.take_daily_snapshot()",),
    "rebuild_mrr_history": ("SELECT public.rebuild_mrr_history()", "SELECT public.rebuild_mrr_history(true)"),
    "mrr_history": (f"SELECT * FROM public.mrr_history('{{{USER}}}')", "SELECT * FROM public.mrr_history(NULL)"),
    "rebuild_mrr_history_of": (f"SELECT public.rebuild_mrr_history_of('{USER}')",),
    "refresh_all_days": ("SELECT public.refresh_all_days()",),
    "usage_forecasts": (
        f"SELECT * FROM public.usage_forecasts('{{{USER}}}')",
        "SELECT * FROM public.usage_forecasts(NULL)",
    ),
    "forecast_requests": (
        "SELECT * FROM public.forecast_requests()",
        f"SELECT * FROM public.forecast_requests('{LATER}')",
    ),
    "find_stale_subscriptions": ("SELECT * FROM public.find_stale_subscriptions()",),
    "fix_orphaned_stripe_customers": ("SELECT * FROM public.fix_orphaned_stripe_customers()",),
    "webhook_lease": ("SELECT public.webhook_lease()",),
    "webhook_attempts": ("SELECT public.webhook_attempts()",),
    "start_webhook_processing": (
        *(f"SELECT public.start_webhook_processing('{event}')" for event in ("evt_new", "evt_abandoned", "evt_lost")),
        "SELECT public.start_webhook_processing('')",
    ),
    "complete_webhook_processing": (
        "SELECT public.complete_webhook_processing('evt_new', NULL)",
        "SELECT public.complete_webhook_processing('evt_abandoned', 'no price')",
    ),
    "retry_waiting_events": ("SELECT public.retry_waiting_events('cus_a')", "SELECT public.retry_waiting_events('')"),
    "release_waiting_events": ("INSERT INTO public.plan_prices (stripe_price_id, tier) VALUES ('price_z', 'starter')",),
    "link_primary_customer": ("INSERT INTO public.users (email, stripe_customer_id) VALUES ('m@a.example', 'cus_m')",),
    "keep_primary_customer": (
        f"""
        INSERT INTO public.stripe_customers (stripe_customer_id, user_id, is_primary) VALUES ('cus_z', '{USER}', true)
        """,
    ),
    "follow_primary_customer": (f"UPDATE public.stripe_customers SET user_id = '{USER}'",),
    "name_stripe_customer": (
        f"INSERT INTO public.payment_history (user_id, amount_cents, stripe_charge_id) VALUES ('{USER}', 1, 'ch_z')",
    ),
    "keep_suspension": (
        "UPDATE public.users SET status = 'suspended'",
        "UPDATE public.users SET status = 'active'",
    ),
    "retry_failed_webhooks": ("SELECT * FROM public.retry_failed_webhooks(5)",),
    "search_form": ("SELECT public.search_form('Ada@example.com', 'Ada')",),
    "count_authentication_failure": ("SELECT public.count_authentication_failure('api_key', '10.0.0.1', 'ada')",),
    "retention_cutoff": ("SELECT public.retention_cutoff('me', 30)", "SELECT public.retention_cutoff('me', 0)"),
    "cleanup_authentication_failures": ("SELECT public.cleanup_authentication_failures()",),
    "cleanup_alerts": ("SELECT public.cleanup_alerts()",),
    "cleanup_rate_limits": ("SELECT public.cleanup_rate_limits()",),
    "cleanup_webhook_events": ("SELECT public.cleanup_webhook_events()",),
    "cleanup_api_usage_request_ids": ("SELECT public.cleanup_api_usage_request_ids()",),
    "delete_rows": ("SELECT public.delete_rows('public.rate_limits', 'expires_at < now()')",),
    "analyze_partitioned_tables": ("SELECT public.analyze_partitioned_tables()",),
    "partition_key": ("SELECT public.partition_key('public.api_usage')",),
    "default_partition": ("SELECT public.default_partition('public.api_usage')",),
    "max_partitions": ("SELECT public.max_partitions('public.api_usage')",),
    "partition_name": (f"SELECT public.partition_name('public.api_usage', '{LATEST}')",),
    "partition_bounds": (f"SELECT * FROM public.partition_bounds('public.api_usage_{TODAY:%Y_%m}')",),
    "monthly_partitions": ("SELECT * FROM public.monthly_partitions('public.api_usage')",),
    "create_monthly_partition": (f"SELECT public.create_monthly_partition('public.audit_log', '{LATEST}')",),
    "make_monthly_partitions": (
        f"SELECT * FROM public.make_monthly_partitions('public.api_usage', '{{{LATEST},{TODAY}}}')",
    ),
    "missing_months": (
        f"ALTER TABLE public.api_usage DETACH PARTITION public.api_usage_{LATEST:%Y_%m}",
        f"SELECT * FROM public.missing_months('public.api_usage', '{{{LATEST},{TODAY},{LATER}}}')",
    ),
    "create_monthly_partitions": ("SELECT * FROM public.create_monthly_partitions('public.api_usage', 3, 1)",),
    "create_api_usage_partitions": ("SELECT public.create_api_usage_partitions(4)",),
    "create_audit_log_partitions": ("SELECT public.create_audit_log_partitions(4)",),
    "lock_for_partitions": ("SELECT FROM public.lock_for_partitions('public.api_usage', ARRAY['SELECT 1'], 'it')",),
    "drop_partitions_before": ("SELECT public.drop_partitions_before('public.api_usage', '1980-01-01T00:00:00+00')",),
    "cleanup_old_api_usage": ("SELECT public.cleanup_old_api_usage(30)", "SELECT public.cleanup_old_api_usage(0)"),
    "cleanup_audit_log": ("SELECT public.cleanup_audit_log(100)",),
    "record_audit": ("SELECT public.record_audit('note', 'users', '1', NULL, '{\"a\": 1}')",),
    **erasing_calls.calls(USER, TODAY),
    "record_read": (f"SELECT public.record_read('users', '{USER}')",),
    "cleanup_read_log": ("SELECT public.cleanup_read_log(100)",),
    "refuse_seal_change": ("TRUNCATE public.audit_seals",),
    "seal_audit_log": ("SELECT public.seal_audit_log(5)",),
    "is_owner_of": ("SELECT public.is_owner_of('public.audit_log')",),
    "row_as_of": (f"SELECT public.row_as_of('api_keys', '{KEY}', '{{}}', '{TODAY}T00:00Z')",),
    "requests_as_of": (f"SELECT public.requests_as_of('{USER}', 'now')",),
    "payments_as_of": (f"SELECT public.payments_as_of('{USER}', 'now')",),
    "customer_as_of": (f"SELECT public.customer_as_of('{USER}', 'now')",),
    **account_functions.CALLS,
    "this_database": ("SELECT * FROM public.this_database()",),
    "is_production": ("SELECT public.is_production()",),
    "signal_session": ("SELECT public.signal_session('1.1', 'cancel')", "SELECT public.signal_session('1.1', 'kill')"),
    "top_queries": ("SELECT count(*) FROM public.top_queries()",),
    "locked_tables": ("SELECT * FROM public.locked_tables()",),
    "known_checks": ("SELECT * FROM public.known_checks()",),
    "check_patience": ("SELECT public.check_patience()",),
    "decline_words": ("SELECT public.decline_words('expired_card'), public.decline_words('x')",),
    "error_cause": ("SELECT public.error_cause('no customer cus_1 since 2026-05-01')",),
    "plain_error": ("SELECT public.plain_error('connection refused')",),
    "rows_apart": ("SELECT * FROM public.rows_apart('health_of_customers', 1000)",),
    "system_health": ("SELECT check_name, warning_at, critical_at, title, unit FROM public.system_health()",),
    "seen_alerts": ("SELECT * FROM public.seen_alerts('[]')",),
    "leave_out": ("SELECT public.leave_out('roll_up_usage: left out customer 1: poisoned')",),
    "run_maintenance_tasks": (
        "SELECT * FROM public.run_maintenance_tasks(ARRAY['one', 'no'], ARRAY['SELECT 1', 'SELECT 1 FROM nowhere'])",
    ),
    "run_daily_maintenance": ("SELECT * FROM public.run_daily_maintenance()",),
    "run_weekly_maintenance": ("SELECT * FROM public.run_weekly_maintenance()",),
}


def prepare() -> None:
    """The rows that the calls work on, in the test's transaction."""
    factories.customer(id=USER, email="ada@example.com", name="Ada", stripe_customer_id="cus_ada")
    factories.api_key(USER, id=KEY)
    factories.api_key(USER, revoked_at=ago("2 days"), revoked_reason="lost")
    factories.subscription(USER, current_period_end=ago("3 days"))
    orphan = factories.customer(email="bob@example.com", stripe_customer_id="cus_bob")
    run("UPDATE subscriptions SET status = 'canceled' WHERE user_id = %s", orphan.pk)
    for days in (1, 200, -400):
        factories.requests(USER, 3, created_at=ago(f"{days} days"), request_id=f"r{days}")
        insert("audit_log", action="note", table_name="users", occurred_at=ago(f"{days} days"))
    run("SELECT create_monthly_partition(t, (now() - interval '200 days')::date) FROM unnest(%s::regclass[]) AS t",
        ["api_usage", "audit_log"])  # fmt: skip
    for name, values in {
        "failed": {"next_retry_at": ago("1 minute")},
        "abandoned": {"status": "processing", "processing_started_at": ago("20 minutes"), "attempts": 2},
        "lost": {"status": "processing", "processing_started_at": ago("20 minutes"), "attempts": 1},
        "old": {"status": "processed", "processed_at": ago("40 days"), "received_at": ago("40 days")},
    }.items():
        factories.webhook_event(stripe_event_id=f"evt_{name}", **values)
    factories.alert(state="resolved", resolved_at=ago("200 days"))
    run("SELECT nextval('rate_limit_permits_seq')")  # no rollback takes it back: all runs begin after the first
    insert("rate_limits", api_key_id=KEY, window_start=ago("2 hours"), window_seconds=60, expires_at=ago("1 hour"))


def call_all(*settings: str) -> Outcome:
    """Calls every function in a session with such settings, undoes it all and returns what came of it.

    `settings` are statements; whatever they make or set is gone afterwards too.
    """
    with connection.cursor() as cursor:
        session: psycopg.Cursor = cursor.cursor
        session.execute("SAVEPOINT before")
        try:
            for statement in settings:
                session.execute(statement.encode())
            failures, answers = _call(session)
            session.execute("RESET ALL; SET LOCAL search_path = public")
            return _tables(session) | _answers(session, answers) | failures
        finally:
            session.execute("ROLLBACK TO before; RESET ALL")


def _call(session: psycopg.Cursor) -> tuple[Outcome, list[str]]:
    failures: Outcome = {}
    answers = []
    for name, statements in CALLS.items():
        for number, statement in enumerate(statements):
            answer = f"{name}_{number}"
            kept = f"CREATE TEMPORARY TABLE {answer} AS " if statement.startswith("SELECT") else ""
            try:
                session.execute(f"SAVEPOINT call; {kept}{statement}; RELEASE call".encode())
            except psycopg.Error as error:
                session.execute("ROLLBACK TO call")
                said = error.diag
                failures[answer] = [
                    {"error": said.message_primary, "detail": said.message_detail, "code": error.sqlstate}
                ]
            else:
                answers += [answer] if kept else []
    return failures, answers


def _answers(session: psycopg.Cursor, answers: Iterable[str]) -> Outcome:
    return {answer: _rows(session, f"pg_temp.{answer}") for answer in answers}


def _tables(session: psycopg.Cursor) -> Outcome:
    found = {table: _rows(session, f"public.{table}") for table in sorted(desired.table_names())}
    found["partitions"] = _rows(
        session,
        "(SELECT relname, relpersistence, reltablespace, reloptions, relacl::text, pg_get_expr(relpartbound, oid),"
        " (SELECT array_agg(pg_get_triggerdef(t.oid) ORDER BY tgname) FROM pg_trigger AS t WHERE t.tgrelid = c.oid)"
        " FROM pg_class AS c WHERE c.relispartition AND c.relkind = 'r')",
    )
    return found


def _rows(session: psycopg.Cursor, source: str) -> Rows:
    session.execute(f"SELECT to_jsonb(r) FROM {source} AS r".encode())
    return [_flat(json.loads(row)) for (row,) in session.fetchall()]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """With the keys of an inner object, as audit_log.new_values, as columns: one may be volatile and the others not."""
    inner = {name: value for name, value in row.items() if isinstance(value, dict)}
    flat = {f"{name}.{key}": value for name, values in inner.items() for key, value in values.items()}
    return {name: value for name, value in row.items() if name not in inner} | flat
