"""Bringing differing rows in line: whatever differs, the customer's whole state is fetched and projected anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.db.models import Q, QuerySet

from billing.models import Difference, StripeCustomer, UnmatchedCustomer
from billing.models.user import LONGEST_NAME
from billing.stripe import gateway
from billing.stripe.errors import (
    MissingError,
    PartlyDoneError,
    PermanentError,
    TransientError,
    UnlinkedCustomerError,
)
from billing.stripe.events import inbox
from billing.stripe.reconciliation import discrepancies
from billing.stripe.resync import resync
from billing.stripe.unstorable import explained
from glyphforge.text import cut

Status = Difference.Status
# Called in the transaction of what is done about these differences, by their keys.
Audit = Callable[[list[int]], None]


def repair(differences: QuerySet[Difference], audit: Audit) -> int:
    """Repair the open ones among `differences`; returns how many. The others say why in their note.

    A missing event is stored and left to the queue: https://docs.stripe.com/api/events/list keeps 30 days. Anything
    else has its customer's whole state fetched, one customer after the other. What Stripe does not know stays as it is:
    a wrong API key would look the same, and nothing here is deleted on that ground. Raises TransientError when Stripe
    does not answer, PartlyDoneError when some were repaired before.
    """
    still_open = list(differences.filter(status=Status.OPEN))
    repaired = 0
    try:
        for row in still_open:
            if row.object_kind == "event":
                repaired += _store_event(row, audit)
        for customer_id, mine in by_customer(still_open).items():
            repaired += repair_customer(customer_id, mine, audit)
    except TransientError as error:
        if repaired and not isinstance(error, PartlyDoneError):
            raise PartlyDoneError(str(error), error.retry_after) from error
        raise
    return repaired


def by_customer(differences: Iterable[Difference]) -> dict[str, list[Difference]]:
    """Those that fetching their customer may cure, by the customer's id at Stripe; the others are told why not."""
    found: dict[str, list[Difference]] = {}
    for row in differences:
        if row.object_kind == "event":
            continue
        if row.kind == Difference.Kind.OTHER_OWNER:
            continue  # its note says what support may do
        if row.kind == Difference.Kind.MISSING_AT_STRIPE:
            discrepancies.explain(Q(pk=row.pk), "Stripe does not know it: decide by hand.")
        elif row.stripe_customer_id:
            found.setdefault(row.stripe_customer_id, []).append(row)
    return dict(sorted(found.items()))


def repair_customer(customer_id: str, mine: list[Difference], audit: Audit) -> int:
    """Bring one customer in line and close what `mine` says of it; returns how many were repaired.

    Those that wait for a person say so in their note. Raises TransientError and PartlyDoneError.
    """
    keys = [row.pk for row in mine]
    try:
        problems = {
            (problem.kind, problem.stripe_id): problem.error
            for problem in resync(customer_id, audit=lambda: audit(keys))
        }
    except PermanentError as error:
        if isinstance(error, UnlinkedCustomerError):
            remember_unmatched(error)
        discrepancies.explain(Q(pk__in=keys), str(error))
        return 0
    cured = []
    for row in mine:
        if why_not := problems.get((row.object_kind, row.stripe_id)):
            discrepancies.explain(Q(pk=row.pk), str(why_not))
        else:
            cured.append(row.pk)
    return discrepancies.close(Q(pk__in=cured), Status.REPAIRED)


def _store_event(row: Difference, audit: Audit) -> int:
    try:
        fetched = gateway.as_json(gateway.retrieve("event", row.stripe_id))
        with explained(f"event {row.stripe_id}"):
            audit([row.pk])
            inbox.store(fetched)
    except MissingError as error:
        discrepancies.explain(Q(pk=row.pk), f"{error} It keeps events for 30 days.")
    except PermanentError as error:
        discrepancies.explain(Q(pk=row.pk), str(error))
    else:
        return discrepancies.close(Q(pk=row.pk), Status.REPAIRED)
    return 0


def remember_unmatched(error: UnlinkedCustomerError) -> None:
    """Put the customer that the error is about before support, who may link it or create a customer for it.

    One that was linked meanwhile is left alone.
    """
    if StripeCustomer.objects.filter(pk=error.stripe_customer_id).exists():
        return
    UnmatchedCustomer.objects.update_or_create(
        stripe_customer_id=error.stripe_customer_id,
        defaults={
            "email": error.email and cut(error.email, LONGEST_NAME),
            "name": cut(error.name, LONGEST_NAME),
            "reason": cut(str(error), 5000),
        },
    )
