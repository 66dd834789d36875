"""Correcting what a customer has used, by entries beside what was counted, which never changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from django.db import IntegrityError, connection, transaction

from billing.models import QuotaUsage, User
from glyphforge.audit import acting_as
from glyphforge.audit.masking import mask
from glyphforge.errors import Notice, Refused
from glyphforge.text import storable

if TYPE_CHECKING:
    from uuid import UUID

# What staff may correct at once; more is somebody's mistake.
MOST = 1_000_000_000
MONTHS = 12


@dataclass(frozen=True)
class Counted:
    """What counts of a month: requests by `QUOTA_COUNTS`, the corrections so far, and both together."""

    requests: int
    corrected: int
    used: int


def counted(user: User, month: date) -> Counted:
    """What counts of the customer's month, which is named by its first day."""
    row = QuotaUsage.objects.filter(user=user, month=month).first()
    return Counted(row.counted_requests, row.corrected_requests, row.used_requests) if row else Counted(0, 0, 0)


def correct(
    user: User,
    month: date,
    requests: int,
    *,
    actor: str,
    reason: str,
    api_key_id: UUID | None = None,
    token: str | None = None,
) -> int:
    """Have the month, named by its first day, count so many requests more, or fewer; returns what it counts then.

    Once for each `token`: with one that was used before `Notice` is raised. Refuses none, more than MOST, a month that
    has not begun, a key of somebody else's, and to take more than counts.
    """
    if not 0 < abs(requests) <= MOST:
        raise Refused(f"1 to {MOST:,} requests can be corrected, more or fewer, not {requests:,}.")
    with acting_as(actor=actor, reason=reason), transaction.atomic(), connection.cursor() as cursor:
        try:
            # Rules and audit row are the database's, for everybody who corrects.
            cursor.execute(
                "SELECT correct_usage(%s, %s, %s, %s, %s, %s)",
                [user.pk, month, requests, mask(storable(reason)), api_key_id, token or None],
            )
        except IntegrityError as error:
            raise Refused(str(error).partition("\n")[0]) from error
        (used,) = cursor.fetchone()
    if used is None:
        raise Notice("This form was sent before: the usage is corrected, once.")
    return int(used)


def months_until(moment: datetime) -> list[date]:
    """The first days of the months that can be chosen, from the one of the moment back."""
    newest = moment.year * 12 + moment.month - 1
    return [date(number // 12, number % 12 + 1, 1) for number in range(newest, newest - MONTHS, -1)]
