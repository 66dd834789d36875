"""Rows as somebody with psql would write them: the views must be right whoever writes the tables."""

from typing import Any
from uuid import UUID, uuid4

from django.db import connection

Row = dict[str, Any]


def query(sql: str, *parameters: Any) -> list[Row]:
    """Runs SQL and returns its rows as dictionaries."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def one(sql: str, *parameters: Any) -> Row:
    (row,) = query(sql, *parameters)
    return row


def insert(table: str, **values: Any) -> Row:
    """Inserts a row; a value that is an `SQL` is taken as an expression."""
    marks = ", ".join(str(value) if isinstance(value, SQL) else "%s" for value in values.values())
    parameters = [value for value in values.values() if not isinstance(value, SQL)]
    names = ", ".join(f'"{name}"' for name in values)
    return one(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING *", *parameters)


class SQL(str):
    """An expression that the database evaluates."""

    __slots__ = ()


def ago(interval: str) -> SQL:
    return SQL(f"now() - interval '{interval}'")


def user(**values: Any) -> UUID:
    """A customer, with the free subscription that the trigger gives."""
    row: Row = insert("users", **({"email": f"{uuid4()}@example.com"} | values))
    identity: UUID = row["id"]
    return identity


def subscription(user_id: UUID, **values: Any) -> UUID:
    """Replaces the live subscription of the customer, unless the new one is a duplicate."""
    if not values.get("is_duplicate"):
        query(
            "UPDATE subscriptions SET status = 'canceled'"
            " WHERE user_id = %s AND NOT is_duplicate AND status <> 'canceled'",
            user_id,
        )
    row = insert("subscriptions", **({"user_id": user_id, "tier": "starter", "status": "active"} | values))
    identity: UUID = row["id"]
    return identity


def paying_user(tier: str = "starter", price_cents: int = 2900, **values: Any) -> UUID:
    identity = user()
    subscription(identity, tier=tier, price_cents=price_cents, **values)
    return identity


def requests(user_id: UUID, count: int = 1, **values: Any) -> None:
    """Inserts that many equal rows of api_usage in one statement."""
    values = {"user_id": user_id, "endpoint": "/v1/glyphs", "method": "GET", "status_code": 200} | values
    values.setdefault("response_time_ms", 20)
    marks = ", ".join(str(value) if isinstance(value, SQL) else "%s" for value in values.values())
    parameters = [value for value in values.values() if not isinstance(value, SQL)]
    query(f"INSERT INTO api_usage ({', '.join(values)}) SELECT {marks} FROM generate_series(1, %s)", *parameters, count)


def forget_older_requests() -> None:
    """Has the requests that other tests rolled back count as folded: a sequence does not take their ids back."""
    query("SELECT fold_traffic(%s)", 10**12)


def webhook_event(**values: Any) -> str:
    row = insert("stripe_webhook_events", **({"stripe_event_id": f"evt_{uuid4().hex}"} | values))
    identity: str = row["stripe_event_id"]
    return identity


def api_key(user_id: UUID, **values: Any) -> UUID:
    row = insert(
        "api_keys", **({"user_id": user_id, "key_prefix": "glyph_sk_dev_abc", "key_hash": "$2b$12$x"} | values)
    )
    identity: UUID = row["id"]
    return identity
