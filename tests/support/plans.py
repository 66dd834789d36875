"""What PostgreSQL plans for a statement at size, and the tables that are large then."""

import json
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support import bulk
from tests.support.sql import SQL, insert

# What customers and the machinery leave behind. Other tables are small by nature and may be read whole.
OF_CUSTOMERS = (
    "users",
    "subscriptions",
    "api_keys",
    "payment_history",
    "stripe_webhook_events",
    "audit_log",
    "api_usage",
)
OF_THE_MIRROR = (
    "djstripe_invoice",
    "djstripe_charge",
    "djstripe_paymentmethod",
    "djstripe_session",
    "djstripe_dispute",
)
OF_THE_MACHINERY = (
    "job_runs",
    "alerts",
    "notifications",
    "mrr_movements",
    "reconciliation_differences",
    "authentication_failures",
)


def fill_tables_of_customers() -> None:
    """Customers who share most of their address, each with a subscription, a key, a payment, an event and usage."""
    with connection.cursor() as cursor:
        bulk.customers(cursor)
        bulk.of_each_customer(cursor, "payment_history", "api_keys", "stripe_webhook_events", "api_usage")
        bulk.of_each_customer(cursor, *["audit_log"] * 5)
        cursor.execute(f"ANALYZE {', '.join(OF_CUSTOMERS)}")


def fill_tables_of_the_mirror() -> None:
    """As many objects of each kind by which support finds a customer."""
    data = (
        "jsonb_build_object('number', 'AB12CD34-' || n, 'receipt_number', '1234-' || n, 'type', 'card',"
        " 'card', jsonb_build_object('last4', lpad((n % 9000)::text, 4, '0')), 'payment_method_details',"
        " jsonb_build_object('type', 'card', 'card', jsonb_build_object('last4', lpad((n % 9000)::text, 4, '0'))))"
    )
    needed = {
        "djstripe_charge": {"amount": "1", "currency": "'usd'", "status": "'succeeded'"},
        "djstripe_invoice": {"customer_id": "'cus_mirror'"},
        "djstripe_paymentmethod": {},
        "djstripe_session": {},
        "djstripe_dispute": {},
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO djstripe_customer (id, email, stripe_data, livemode, djstripe_created, djstripe_updated)"
            " VALUES ('cus_mirror', '', '{}', false, now(), now())"
        )
        for table, more in needed.items():
            names = "".join(f", {name}" for name in more)
            values = "".join(f", {value}" for value in more.values())
            cursor.execute(
                f"INSERT INTO {table} (id, stripe_data, livemode, djstripe_created, djstripe_updated{names})"
                f" SELECT '{table[9:11]}_' || lpad(n::text, 14, '0'), {data}, false, now(), now(){values}"
                " FROM generate_series(1, 3000) AS n"
            )
        cursor.execute(f"ANALYZE {', '.join(needed)}")


def fill_tables_of_the_machinery() -> None:
    """As many rows in what the machinery keeps about the customers and itself."""
    now = SQL("now()")
    insert("reconciliation_runs", events_from=now, events_until=now, request_budget=1, actor="job", reason="daily")
    with connection.cursor() as cursor:
        bulk.of_each_customer(cursor, *OF_THE_MACHINERY)
        cursor.execute(f"ANALYZE {', '.join(OF_THE_MACHINERY)}")


def selects(queries: CaptureQueriesContext) -> list[str]:
    """The captured statements that read."""
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT ")]


def read_whole(statement: str) -> set[str]:
    """The large tables that the statement would read from their start."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        plan = cursor.fetchone()[0]
    plan = json.loads(plan) if isinstance(plan, str) else plan
    large = (*OF_CUSTOMERS, *OF_THE_MIRROR, *OF_THE_MACHINERY)
    return {table for table in _sequential(plan[0]["Plan"]) if table.startswith(large) and _is_large(table)}


def _is_large(table: str) -> bool:
    """Next month's partition is empty and rightly read whole."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {table} OFFSET 1000)")
        return bool(cursor.fetchone()[0])


def _sequential(node: dict[str, Any]) -> set[str]:
    here = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return here.union(*(_sequential(child) for child in node.get("Plans", [])))
