"""Counts a key's requests against its plan: the Python door to check_rate_limit() and lease_rate_limit()."""

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


@dataclass(frozen=True)
class Lease:
    """How many requests of a key were counted in advance, to be served until `expires_at`, which is None for none.

    `reason` is as in `Decision`.
    """

    granted: int
    expires_at: datetime | None
    reason: str


def lease(api_key_id: UUID, permits: int) -> Lease:
    """Count up to so many requests of the key at once, as many as its plan has room for.

    For a server that checks thousands a second: what it does not use stays counted, so it asks for what it needs in
    seconds. Call it as `check`. Fewer than one permit is a `DataError`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT granted, expires_at, reason FROM lease_rate_limit(%s, %s)", [api_key_id, permits])
        return Lease(*cursor.fetchone())
