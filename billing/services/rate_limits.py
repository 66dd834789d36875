"""Counts a key's requests against its plan: the Python door to the database's check_rate_limit()."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection


@dataclass(frozen=True)
class Decision:
    """Whether one more request is allowed, how many are left, when the window ends, and why: ok, rate, quota or key."""

    allowed: bool
    remaining: int
    reset_at: datetime | None
    reason: str


def check(api_key_id: UUID) -> Decision:
    """Counts one request of the key if it is allowed. Call it outside a transaction: others queue behind its end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT allowed, remaining, reset_at, reason FROM check_rate_limit(%s)", [api_key_id])
        return Decision(*cursor.fetchone())
