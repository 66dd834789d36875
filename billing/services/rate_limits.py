"""Counts a key's requests against its plan: the Python door to the database's check_rate_limit()."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection


@dataclass(frozen=True)
class Decision:
    """Whether one more request is allowed, and what is left.

    `remaining` requests have room until `reset_at`, when the tighter of the minute's and the month's window ends.
    `reason` is `ok`; `rate`, too many this minute; `quota`, the month is used up; or `key`: unknown, revoked, expired,
    or of a user who is not active, and then `reset_at` is None.
    """

    allowed: bool
    remaining: int
    reset_at: datetime | None
    reason: str


def check(api_key_id: UUID) -> Decision:
    """Count one request of the key against its plan, if it is allowed; a refused one is not counted.

    Call it outside a transaction: other requests of the same user wait until it ends.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT allowed, remaining, reset_at, reason FROM check_rate_limit(%s)", [api_key_id])
        return Decision(*cursor.fetchone())
