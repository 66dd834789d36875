"""Erasing a person: asked for by one, approved by another, and carried out so that every figure stays.

What is carried out may be killed anywhere and taken up again: all but the requests' addresses is one transaction, those
go ten thousand at a time, and each step finds what is left to do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from billing.models import StripeCustomer, StripeRequest, Subscription, UnmatchedCustomer, User
from billing.services.privacy import places
from billing.services.privacy.places import Place
from billing.stripe import customer_lock
from glyphforge.approval import requests
from glyphforge.approval.models import Approval
from glyphforge.audit import acting_as
from glyphforge.errors import Refused

logger = logging.getLogger(__name__)

KIND = "erase_customer"
TASK = "billing.tasks.erase_customer"
STALLED = timedelta(minutes=10)
BATCH = 10_000


@dataclass(frozen=True)
class Preview:
    """What an erasure changes, by table the number of rows; why it may not be done, and who else holds the person."""

    rows: dict[str, int]
    refusals: list[str]
    elsewhere: list[str]


def preview(user: User) -> Preview:
    """What erasing the customer would change. Writes nothing."""
    values = places.parameters(user.pk)
    counts: Counter[str] = Counter()
    with connection.cursor() as cursor:
        for place in (*_mentions(values), *_own(values)):
            cursor.execute(place.counting, values)
            # A row that says something twice is one row.
            counts[place.table] = max(counts[place.table], cursor.fetchone()[0])
        cursor.execute(
            "SELECT (SELECT count(*) FROM erased_audit_rows(%(user)s)), (SELECT count(*) FROM api_usage AS r"
            " WHERE r.user_id = %(user)s AND (r.ip_address IS NOT NULL OR r.error_message IS NOT NULL))",
            values,
        )
        counts["audit_log"], counts["api_usage"] = cursor.fetchone()
    rows = {table: count for table, count in sorted(counts.items()) if count}
    return Preview(rows, refusals(user), elsewhere(user))


def refusals(user: User) -> list[str]:
    """Why the customer may not be erased now; empty when they may."""
    held = [f"A legal hold is on the customer: {user.legal_hold}"] if user.legal_hold else []
    paid = Q(stripe_subscription_id__isnull=False) | Q(price_cents__gt=0)
    live = Subscription.objects.filter(paid, user=user, status__in=Subscription.LIVE)
    opened = StripeRequest.objects.filter(user=user, state__in=StripeRequest.OPEN)
    return [
        *held,
        *(
            f"The subscription {row.stripe_subscription_id or row.pk} is {row.get_status_display().lower()}:"
            " end it first."
            for row in live.order_by("created_at")
        ),
        *(
            f"It is not known yet what became of a request to Stripe: {request}."
            for request in opened.order_by("asked_at")
        ),
    ]


def elsewhere(user: User) -> list[str]:
    """What other systems still say of the customer, which this back office cannot erase."""
    links = StripeCustomer.objects.filter(user=user, deleted_at=None).order_by("linked_at")
    unmatched = UnmatchedCustomer.objects.filter(email__iexact=user.email) if user.email else []
    cognito = [user.cognito_user_id] if user.cognito_user_id else []
    return [
        *(f"Stripe holds the customer {link.pk}: delete or redact it in Stripe's dashboard." for link in links),
        *(f"Cognito holds the user {user_id}: delete it in the user pool." for user_id in cognito),
        *(
            f"The Stripe customer {other.pk} has the same address and is linked to nobody: decide it first."
            for other in unmatched
        ),
        "Backups hold the customer until they are deleted; restoring one erases the customer again.",
        "Log files hold ids and addresses of requests until they are rotated away.",
    ]


def ask(user: User, *, actor: str, reason: str) -> Approval:
    """Ask for the erasure, which another person has to approve. Refuses what `refusals` says."""
    _require_allowed(user)
    return requests.ask(KIND, user.pk, f"Erase customer {user.pk}", actor=actor, reason=reason)


def request_of(user: User) -> Approval | None:
    """The request to erase the customer that waits or was approved."""
    return requests.current(KIND, user.pk)


def requeue_stalled() -> int:
    """Queue again what was approved and not done ten minutes later: its process has died. Returns how many."""
    waiting = Approval.objects.filter(kind=KIND, state=Approval.State.APPROVED, decided_at__lt=Now() - STALLED)
    ids = [str(pk) for pk in waiting.values_list("pk", flat=True)]
    for approval_id in ids:
        async_task(TASK, approval_id, task_name=f"{KIND} {approval_id}")
    return len(ids)


def carry_out(request: Approval, *, again: bool = False) -> Counter[str]:
    """Erase whom an approved request names; returns the number of rows by table. What is done already is not repeated.

    Refuses a request that nobody approved, and what `refusals` says; not the latter with `again`, in a database that
    was restored from before the erasure.
    """
    request.refresh_from_db()
    if request.kind != KIND or request.state not in (Approval.State.APPROVED, Approval.State.DONE):
        raise Refused(f"The request is {request.get_state_display().lower()}: it has to be approved first.")
    user = User.objects.filter(pk=request.subject).first()
    if user is None:
        raise Refused(f"There is no customer {request.subject}.")
    why = f"Asked for by {request.asked_by}, approved by {request.decided_by}"
    with acting_as(actor="erasure", kind="system", reason=why):
        counts = _erase(user, again=again)
        requests.done(request)
    return counts


def _erase(user: User, *, again: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        # The seals stand still first: whoever seals waits for writers, and would wait for this one.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('audit_log seals', 0))")
        for customer_id in StripeCustomer.objects.filter(user=user).order_by("pk").values_list("pk", flat=True):
            customer_lock.acquire(customer_id)
        user = User.objects.select_for_update().get(pk=user.pk)
        if user.erased_at is None and not again:
            _require_allowed(user)
        values = places.parameters(user.pk)
        _run(cursor, _mentions(values), values, counts)
        counts["audit_log"] += _erase_audit(cursor, user)
        # From here on the database does not know any more what to look for.
        _run(cursor, _own(values), values, counts)
        # What has just been written tells of the names that it took away.
        counts["audit_log"] += _erase_audit(cursor, user)
    while erased := _erase_usage(user):
        counts["api_usage"] += erased
    counts = +counts  # where there was something
    logger.info("Customer %s was erased: %s", user.pk, dict(counts))
    return counts


def _run(cursor: Any, found: Iterable[Place], values: dict[str, Any], counts: Counter[str]) -> None:
    for place in found:
        cursor.execute(place.erasing, values)
        counts[place.table] += cursor.rowcount


def _mentions(values: dict[str, Any]) -> Iterable[Place]:
    """Where the person is named beside their own rows and Stripe's objects."""
    return (*places.mentions(in_sources=False), *places.ATTEMPTS) if values["pattern"] else ()


def _own(values: dict[str, Any]) -> Iterable[Place]:
    """The person's own rows, and Stripe's objects that name them."""
    return (*places.OWN, *(places.mentions(in_sources=True) if values["pattern"] else ()))


def _erase_audit(cursor: Any, user: User) -> int:
    cursor.execute("SELECT erase_audit_of(%s)", [user.pk])
    return int(cursor.fetchone()[0])


def _erase_usage(user: User) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT erase_usage_of(%s, %s)", [user.pk, BATCH])
        return int(cursor.fetchone()[0])


def _require_allowed(user: User) -> None:
    if user.erased_at:
        raise Refused(f"The customer was erased on {user.erased_at:%Y-%m-%d}.")
    if found := refusals(user):
        raise Refused(" ".join(found))
