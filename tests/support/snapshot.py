"""What billing knows of Stripe's objects, in a form that two ways to the same end can be compared by.

All tables of billing are in it, those that are still to come too, but for the few that `LEFT_OUT` names.
"""

import json
from pathlib import Path
from typing import Any

from glyphforge.rows import Json
from tests.support.sql import query, run

DEFINITIONS = Path(__file__).resolve().parents[2] / "billing" / "sql" / "tables"
# What is no state of Stripe's: how it came here, and what has nothing to do with it.
LEFT_OUT = {
    "api_keys",
    "api_usage",
    "api_usage_deltas",
    "api_usage_request_ids",
    "cognito_sync_cursors",
    "customer_notes",
    "entitlement_grants",
    "monthly_usage_totals",
    "plan_prices",
    "plans",
    "quota_rule",
    "rate_limit_permits",
    "rate_limits",
    "reconciliation_differences",
    "reconciliation_runs",
    "reconciliation_seen",
    "replay_runs",
    "stripe_backfill_lists",
    "stripe_backfill_problems",
    "stripe_backfills",
    "stripe_catalogue",
    "stripe_requests",
    "stripe_webhook_events",
    "usage_corrections",
}
# Keys that chance gives, and moments of writing.
VOLATILE = [
    "id",
    "updated_at",
    "usage_synced_at",
    "deleted_at",
    "first_seen_at",
    "linked_at",
    "linked_by",
]
# Rows that refer to each other by keys of chance are known by these.
NATURAL = {
    "users": "coalesce(stripe_customer_id, email, 'nobody')",
    "subscriptions": "coalesce(stripe_subscription_id, 'free')",
    "payment_history": "coalesce(stripe_charge_id, 'no charge')",
}
# What comes later to be known is put right by further rows: what they add up to is compared.
SUMMED = {
    "payment_movements": "SELECT payment_id, kind, stripe_object_id, (occurred_at AT TIME ZONE 'UTC')::date AS day,"
    " currency, sum(amount_cents) AS amount_cents FROM payment_movements GROUP BY 1, 2, 3, 4, 5"
    " HAVING sum(amount_cents) <> 0"
}
# The free plan comes and goes as the news does.
OF_A_FREE_ROW = ("user_id", "tier", "status", "is_duplicate", "monthly_request_limit")


def compared_tables() -> list[str]:
    """The tables of billing whose rows tell of Stripe's objects."""
    return sorted({path.stem for path in DEFINITIONS.glob("*.sql")} - LEFT_OUT)


def snapshot() -> dict[str, list[Json]]:
    """The rows of those tables, without what is volatile, in an order of their own."""
    names: dict[str, str] = {}
    for table, expression in NATURAL.items():
        names |= {str(key): f"{table} {name}" for key, name in run(f"SELECT id, {expression} FROM {table}")}
    found = {}
    for table in compared_tables():
        source = SUMMED.get(table, f"SELECT * FROM {table}")
        rows = [row["row"] for row in query(f"SELECT to_jsonb(t) - %s::text[] AS row FROM ({source}) AS t", VOLATILE)]
        found[table] = sorted((_named(table, _loaded(row), names) for row in rows), key=json.dumps)
    return found


def _loaded(row: Any) -> Json:
    loaded: Json = json.loads(row) if isinstance(row, str) else row
    return loaded


def _named(table: str, row: Json, names: dict[str, str]) -> Json:
    if table == "subscriptions" and row["stripe_subscription_id"] is None:
        row = {name: row[name] for name in OF_A_FREE_ROW}
    return {name: names.get(value, value) if isinstance(value, str) else value for name, value in sorted(row.items())}
