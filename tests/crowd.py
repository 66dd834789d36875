"""Enough rows for PostgreSQL to plan as it does in production, and what it plans."""

import json
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

CUSTOMERS = 6_000
# Tables small by nature may be read whole.
LARGE = ("users", "subscriptions", "api_keys", "payment_history", "stripe_webhook_events", "audit_log", "api_usage")
# What the machinery keeps: a table's columns, and how each is made of a customer, of whom one in 500 is `rare`.
RECORDS = {
    "job_runs": {
        "job": "CASE WHEN rare THEN 'weekly' ELSE 'rollup' END",
        "status": "CASE WHEN rare THEN 'failed' ELSE 'succeeded' END",
        "scheduled_for": "at",
        "started_at": "at",
    },
    "alerts": {
        "fingerprint": "'check' || n",
        "alert_type": "CASE WHEN rare THEN 'drift' ELSE 'error_rate' END",
        "subject": "'customer' || n || '@example.com'",
        "severity": "CASE WHEN rare THEN 'critical' ELSE 'warning' END",
        "state": "CASE WHEN rare THEN 'firing' ELSE 'resolved' END",
        "fired_at": "at",
        "resolved_at": "CASE WHEN NOT rare THEN at END",
    },
    "notifications": {
        "alert_id": "(SELECT id FROM alerts WHERE fingerprint = 'check' || n)",
        "channel": "'slack'",
        "kind": "CASE WHEN rare THEN 'escalated' ELSE 'opened' END",
        "severity": "'warning'",
        "status": "CASE WHEN rare THEN 'dead' ELSE 'sent' END",
        "sent_at": "CASE WHEN NOT rare THEN at END",
    },
    "mrr_movements": {
        "user_id": "user_id",
        "subscription_id": "gen_random_uuid()",
        "kind": "CASE WHEN rare THEN 'churn' ELSE 'new' END",
        "currency": "'usd'",
        "amount_cents": "CASE WHEN rare THEN -100 ELSE 100 END",
        "before_cents": "CASE WHEN rare THEN 100 ELSE 0 END",
        "after_cents": "CASE WHEN rare THEN 0 ELSE 100 END",
        "tier_before": "CASE WHEN rare THEN 'starter' END",
        "tier_after": "CASE WHEN NOT rare THEN 'starter' END",
        "occurred_at": "at",
    },
    "reconciliation_differences": {
        "run_id": "(SELECT id FROM reconciliation_runs)",
        "kind": "CASE WHEN rare THEN 'missing_there' ELSE 'differs' END",
        "object_kind": "'charge'",
        "stripe_id": "'ch_' || n",
        "status": "CASE WHEN rare THEN 'open' ELSE 'healed' END",
        "closed_at": "CASE WHEN NOT rare THEN at END",
    },
    "authentication_failures": {
        "kind": "CASE WHEN rare THEN 'staff_second_factor' ELSE 'api_key' END",
        "source": "'203.0.113.' || n",
        "window_start": "at",
    },
}


def assemble() -> None:
    """Customers who share most of their address, each with a subscription, a key, a payment, an event and usage."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (email, name, stripe_customer_id, status, created_at)"
            " SELECT 'customer' || n || '@example.com', 'Customer ' || n, 'cus_' || n,"
            "  CASE WHEN n %% 500 = 0 THEN 'suspended' ELSE 'active' END, now() - n * interval '1 minute'"
            " FROM generate_series(1, %s) AS n",
            [CUSTOMERS],
        )
        cursor.execute(
            "INSERT INTO payment_history"
            "  (user_id, amount_cents, stripe_invoice_id, stripe_charge_id, status, created_at)"
            " SELECT id, 100, 'in_' || stripe_customer_id, 'ch_' || stripe_customer_id,"
            "  CASE status WHEN 'active' THEN 'succeeded' ELSE 'failed' END, created_at FROM users"
        )
        cursor.execute(
            "INSERT INTO api_keys (user_id, key_prefix, key_hash, created_at)"
            " SELECT id, 'glyph_sk_live_' || substr(stripe_customer_id, 5), 'x', created_at FROM users"
        )
        cursor.execute(
            "INSERT INTO stripe_webhook_events (stripe_event_id, event_type, payload, status, received_at)"
            " SELECT 'evt_' || stripe_customer_id, 'invoice.paid',"
            "  jsonb_build_object("
            "    'data', jsonb_build_object('object', jsonb_build_object('customer', stripe_customer_id))),"
            "  CASE status WHEN 'active' THEN 'processed' ELSE 'failed' END, created_at FROM users"
        )
        cursor.execute(
            "INSERT INTO api_usage (user_id, endpoint, method, status_code, response_time_ms, created_at)"
            " SELECT id, '/v1/glyphs', 'GET', 200, 9,"
            "  now() - row_number() OVER (ORDER BY created_at) * interval '1 second' FROM users"
        )
        # What triggers wrote in this one moment is spread over time, as it would have been.
        cursor.execute("UPDATE subscriptions AS s SET created_at = u.created_at FROM users AS u WHERE u.id = s.user_id")
        cursor.execute(
            "INSERT INTO audit_log (occurred_at, actor, action, table_name, row_id)"
            " SELECT now() + n * interval '1 second', 'somebody' || n %% 50, 'update', 'users', n::text"
            " FROM generate_series(1, %s) AS n",
            [5 * CUSTOMERS],
        )
        cursor.execute(f"ANALYZE {', '.join(LARGE)}")


def keep_records() -> None:
    """As many rows in what the machinery keeps about the customers and itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO reconciliation_runs (events_from, events_until, request_budget, actor, reason)"
            " VALUES (now(), now(), 1, 'job', 'daily')"
        )
        for table, rows in RECORDS.items():
            columns, values = (", ".join(row) for row in zip(*rows.items(), strict=True))
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {values} FROM ("
                "  SELECT id AS user_id, row_number() OVER (ORDER BY created_at) AS n, status = 'suspended' AS rare,"
                "   created_at AS at FROM users) AS record"
            )
        cursor.execute(f"ANALYZE {', '.join(RECORDS)}")


def selects(queries: CaptureQueriesContext) -> list[str]:
    """The captured statements that read."""
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT ")]


def read_whole(sql: str) -> set[str]:
    """The large tables that the statement would read from their start."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return {
        table for table in _sequential(plan[0]["Plan"]) if table.startswith((*LARGE, *RECORDS)) and _is_large(table)
    }


def _is_large(table: str) -> bool:
    """Next month's partition is empty and rightly read whole."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {table} OFFSET 1000)")
        return bool(cursor.fetchone()[0])


def _sequential(node: dict[str, Any]) -> set[str]:
    here = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return here.union(*(_sequential(child) for child in node.get("Plans", [])))
