"""Keys that end by themselves, or that nobody uses: their owners are told in time, once a key and occasion.

What was told is in the audit log, as `key_notice` of the key; it is looked up there, so that nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce
from django_q.tasks import async_task

from billing.keys import lifecycle
from billing.models import ApiKey, User
from glyphforge.audit import acting_as, record
from glyphforge.audit.models import AuditEntry
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused

ACTION = "key_notice"
TASK = "billing.tasks.send_key_notice"
# Days before a key expires; of several that have passed the owner is told of the last alone.
EXPIRY_DAYS = (30, 7, 1)
# Between the notice that a key is unused and its revocation.
GRACE_DAYS = 30


@dataclass(frozen=True)
class Step:
    """What is done about a key: `told` or `revoked`, and on which `occasion`, such as `expires within 7 days`."""

    key: ApiKey
    done: str
    occasion: str
    is_idle: bool = False


def due(idle_days: int | None = None) -> list[Step]:
    """What is to be done now, oldest key first: expiry notices and, with `idle_days`, what becomes of unused keys.

    A key is unused that was neither used nor made within so many days. Its owner is told, and a month later it is
    revoked, unless it was used since. Refuses less than 30 days.
    """
    if idle_days is not None and idle_days < GRACE_DAYS:
        raise Refused(f"A key is unused after {GRACE_DAYS} days at the least, not {idle_days}.")
    now = database_time()
    return [*_expiring(now), *(_idle(now, idle_days) if idle_days is not None else ())]


def carry_out(steps: list[Step], *, actor: str, reason: str) -> list[Step]:
    """Do it; returns what was done, without what somebody else did, or the owner made needless, meanwhile."""
    with acting_as(actor=actor, reason=reason):
        return [step for step in steps if _done(step, actor=actor, reason=reason)]


def _usable(now: datetime) -> Q:
    return Q(revoked_at=None, user__status=User.Status.ACTIVE) & (Q(expires_at=None) | Q(expires_at__gt=now))


def _expiring(now: datetime) -> Iterator[Step]:
    last = now + timedelta(days=max(EXPIRY_DAYS))
    keys = ApiKey.objects.filter(_usable(now), expires_at__lte=last).select_related("user").order_by("expires_at", "pk")
    for key in keys.defer("key_hash", "key_fast_hash"):
        assert key.expires_at is not None  # noqa: S101 - for the type checker
        days = min(days for days in EXPIRY_DAYS if key.expires_at <= now + timedelta(days=days))
        step = Step(key, "told", f"expires within {days} days" if days > 1 else "expires within a day")
        if not _told_at(step):
            yield step


def _idle(now: datetime, idle_days: int) -> Iterator[Step]:
    since = now - timedelta(days=idle_days)
    keys = ApiKey.objects.alias(touched_at=Coalesce("last_used_at", "created_at")).filter(
        _usable(now), touched_at__lt=since
    )
    for key in keys.select_related("user").order_by("created_at", "pk").defer("key_hash", "key_fast_hash"):
        notice = Step(key, "told", f"was not used since {key.last_used_at or key.created_at:%Y-%m-%d}", is_idle=True)
        told_at = _told_at(notice)
        if told_at is None:
            yield notice
        elif told_at <= now - timedelta(days=GRACE_DAYS):
            yield replace(notice, done="revoked")


def _told_at(step: Step) -> datetime | None:
    said = AuditEntry.objects.filter(table_name="api_keys", row_id=str(step.key.pk), action=ACTION)
    return said.filter(new_values__occasion=step.occasion).values_list("occurred_at", flat=True).order_by("id").first()


def _done(step: Step, *, actor: str, reason: str) -> bool:
    with transaction.atomic():
        # Told by two at once, the second sees what the first wrote.
        key = ApiKey.objects.select_for_update().defer("key_hash", "key_fast_hash").get(pk=step.key.pk)
        if key.revoked_at is not None or (step.is_idle and key.last_used_at != step.key.last_used_at):
            return False
        if step.done == "revoked":
            lifecycle.revoke(key, actor=actor, reason=f"{reason}: it {step.occasion}")
            return True
        if _told_at(step):
            return False
        record(ACTION, table_name="api_keys", row_id=key.pk, new_values={"occasion": step.occasion})
        # Queued in this transaction: told if and only if it is written down.
        async_task(TASK, str(key.pk), step.occasion)
        return True
