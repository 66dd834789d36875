"""What a customer may use beyond the plan for a while: granted, looked at before, and ended early."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import OuterRef, Subquery

from billing.models import ApiKey, Entitlement, ExtraQuota, Plan, QuotaUsage, Tier, User
from glyphforge.audit import acting_as
from glyphforge.audit.masking import mask
from glyphforge.database.clock import database_time
from glyphforge.errors import Notice, Refused
from glyphforge.text import storable

if TYPE_CHECKING:
    from uuid import UUID

# What staff may grant at once; more is somebody's mistake, or a plan of their own.
MOST_REQUESTS, MOST_PER_MINUTE, LONGEST = 1_000_000_000, 1_000_000, timedelta(days=366)


@dataclass(frozen=True)
class Terms:
    """So many requests a month and a minute more, until `ends_at`; from now on without `starts_at`.

    Without `api_key_id` they are for all of the customer's keys.
    """

    extra_requests: int
    extra_per_minute: int
    ends_at: datetime
    starts_at: datetime | None = None
    api_key_id: UUID | None = None


@dataclass(frozen=True)
class Standing:
    """What a customer may use now, with what is granted for all keys, and what counts of this month (UTC) so far.

    `a_month` is None where it is unlimited.
    """

    a_month: int | None
    a_minute: int
    used: int

    def share(self, a_month: int | None) -> str:
        """What is used of such a limit, in words."""
        if a_month is None:
            return "of unlimited"
        return f"{100 * self.used // a_month:,} % of {a_month:,}" if a_month else "all of 0"


def standing(user: User) -> Standing:
    """Where the customer stands; who has no live subscription has the free plan's limits."""
    month = database_time().date().replace(day=1)
    usage = QuotaUsage.objects.filter(user_id=OuterRef("user_id"), month=month).values("used_requests")
    found = Entitlement.objects.filter(user=user).annotate(used=Subquery(usage)).first()
    if found:
        return Standing(found.monthly_request_limit, found.rate_limit_per_minute, found.used or 0)
    free = Plan.objects.get(pk=Tier.FREE)
    used = QuotaUsage.objects.filter(user=user, month=month).values_list("used_requests", flat=True).first()
    return Standing(free.monthly_request_limit, free.rate_limit_per_minute, used or 0)


def grant(user: User, terms: Terms, *, actor: str, reason: str, token: str | None = None) -> ExtraQuota:
    """Grant it; `check_rate_limit()` adds it from its first moment to its last.

    Once for each `token`: with one that was used before `Notice` is raised. Refuses nothing, more than MOST_REQUESTS or
    MOST_PER_MINUTE, an end that is past, not after its beginning or over a year away, a key that is not the customer's
    or does not work, and a customer who is deleted.
    """
    starts_at = check(terms)
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        if User.objects.select_for_update().get(pk=user.pk).status == User.Status.DELETED:
            raise Refused(f"{user} is deleted.")
        if terms.api_key_id:
            key = ApiKey.objects.filter(pk=terms.api_key_id, user=user, revoked_at=None).first()
            if key is None:
                raise Refused(f"{user} has no usable key {terms.api_key_id}.")
        if token and ExtraQuota.objects.filter(idempotency_key=token).exists():
            raise Notice("This form was sent before: the extra quota is granted, once.")
        # The audit trigger writes the row, with actor and reason.
        return ExtraQuota.objects.create(
            user=user,
            api_key_id=terms.api_key_id,
            extra_requests=terms.extra_requests,
            extra_per_minute=terms.extra_per_minute,
            starts_at=starts_at,
            ends_at=terms.ends_at,
            reason=mask(storable(reason)),
            granted_by=actor,
            idempotency_key=token or None,
        )


def end(quota: ExtraQuota, *, actor: str, reason: str) -> ExtraQuota | None:
    """End it now; one that has not begun is gone, and None is returned. Refuses one that has ended."""
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        row = ExtraQuota.objects.select_for_update().get(pk=quota.pk)
        now = database_time()
        if row.state_at(now) == ExtraQuota.State.ENDED:
            raise Refused(f"It has ended on {row.ends_at:%Y-%m-%d %H:%M} UTC already.")
        if now <= row.starts_at:
            row.delete()
            return None
        row.ends_at = now
        row.save(update_fields=["ends_at"])
        return row


def check(terms: Terms) -> datetime:
    """Refuse terms that `grant` refuses, but for key and customer; returns when they begin."""
    amounts = (
        (terms.extra_requests, MOST_REQUESTS, "requests a month"),
        (terms.extra_per_minute, MOST_PER_MINUTE, "requests a minute"),
    )
    for amount, most, what in amounts:
        if not 0 <= amount <= most:
            raise Refused(f"Of {what} 0 to {most:,} more can be granted, not {amount:,}.")
    if not terms.extra_requests and not terms.extra_per_minute:
        raise Refused("Nothing is granted: say how many requests more, a month or a minute.")
    now = database_time()
    starts_at = terms.starts_at or now
    if starts_at < now - timedelta(minutes=1):
        raise Refused(f"It cannot begin on {starts_at:%Y-%m-%d %H:%M} UTC, which is past.")
    if terms.ends_at <= max(starts_at, now):
        raise Refused(f"It has to end after it begins and after now, not on {terms.ends_at:%Y-%m-%d %H:%M} UTC.")
    if terms.ends_at - now > LONGEST:
        raise Refused(f"It ends within {LONGEST.days} days, not on {terms.ends_at:%Y-%m-%d}.")
    return starts_at
