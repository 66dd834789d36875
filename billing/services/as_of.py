"""A customer as this database had them at a moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Model

from billing.models import ApiKey, CustomerNote, Subscription, User
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused
from glyphforge.rows import Json

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class AsOf:
    """What `customer_as_of()` says, as rows that were never saved; the notes are those written by then, newest first.

    `user` is None before `known_from`, and where the customer had been deleted. `requests` are the month's (UTC) up to
    the moment, None where the rows are no longer kept. `paid` maps currencies to what was paid, in the smallest unit.
    """

    at: datetime
    known_from: datetime | None
    user: User | None
    subscription: Subscription | None
    keys: list[ApiKey]
    requests: int | None
    paid: dict[str, int]
    notes: list[CustomerNote]


def customer_as_of(user_id: UUID, at: datetime | None = None) -> AsOf:
    """The customer at that moment, by default now; refuses one in the future.

    Raises DataError for a customer that neither tables nor audit log know.
    """
    clock = database_time()
    at = at or clock
    if at > clock:
        raise Refused(f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC is in the future.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT customer_as_of(%s, %s)::text", [user_id, at])
        said: Json = json.loads(cursor.fetchone()[0])
    notes = CustomerNote.objects.filter(user_id=user_id, created_at__lte=at) if said["user"] else ()
    known_from = said["known_from"]
    return AsOf(
        at=at,
        known_from=datetime.fromisoformat(known_from) if known_from else None,
        user=_row(User, said["user"]) if said["user"] else None,
        subscription=_row(Subscription, said["subscription"]) if said["subscription"] else None,
        keys=[_row(ApiKey, key) for key in said["api_keys"] or ()],
        requests=said["requests_this_month"],
        paid=said["paid"] or {},
        notes=list(notes),
    )


def _row(model: type[Row], values: Json) -> Row:
    """An instance with the columns that the database said, read as their fields read JSON."""
    row = model()
    for name, value in values.items():
        field: Any = model._meta.get_field(name)
        setattr(row, field.attname, field.to_python(value))
    return row
