"""Bringing differing rows in line: whatever differs, the customer's whole state is fetched and projected anew."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing.models import Difference, UnmatchedCustomer
from billing.models.user import LONGEST_NAME
from billing.stripe import gateway
from billing.stripe.errors import MissingError, PermanentError, UnlinkedCustomerError
from billing.stripe.events import inbox
from billing.stripe.reconciliation import discrepancies
from billing.stripe.resync import resync
from glyphforge.text import cut

Status = Difference.Status


def repair(differences: QuerySet[Difference]) -> int:
    """Repair the open ones among `differences`; returns how many. The others say why in their note.

    A missing event is stored and left to the queue: https://docs.stripe.com/api/events/list keeps 30 days. Anything
    else has its customer's whole state fetched. What Stripe does not know stays as it is: a wrong API key would look
    the same, and nothing here is deleted on that ground. Raises TransientError when Stripe does not answer.
    """
    still_open = differences.filter(status=Status.OPEN)
    repaired = 0
    for stripe_id in still_open.filter(object_kind="event").values_list("stripe_id", flat=True):
        wanted = Q(object_kind="event", stripe_id=stripe_id)
        try:
            inbox.store(gateway.as_json(gateway.retrieve("event", stripe_id)))
        except MissingError as error:
            discrepancies.explain(wanted, f"{error} It keeps events for 30 days.")
        else:
            repaired += discrepancies.close(wanted, Status.REPAIRED)
    objects = still_open.exclude(object_kind="event")
    unknown = Q(pk__in=list(objects.filter(kind=Difference.Kind.MISSING_AT_STRIPE).values_list("pk", flat=True)))
    discrepancies.explain(unknown, "Stripe does not know it: decide by hand.")
    curable = objects.exclude(kind=Difference.Kind.MISSING_AT_STRIPE)
    for customer_id in sorted({row.stripe_customer_id for row in curable if row.stripe_customer_id}):
        mine = Q(pk__in=[row.pk for row in curable if row.stripe_customer_id == customer_id])
        try:
            resync(customer_id)
        except PermanentError as error:
            if isinstance(error, UnlinkedCustomerError):
                remember_unmatched(error)
            discrepancies.explain(mine, str(error))
        else:
            repaired += discrepancies.close(mine, Status.REPAIRED)
    return repaired


def remember_unmatched(error: UnlinkedCustomerError) -> None:
    """Put the customer that the error is about before support, who may link it or create a customer for it."""
    UnmatchedCustomer.objects.update_or_create(
        stripe_customer_id=error.stripe_customer_id,
        defaults={
            "email": error.email and cut(error.email, LONGEST_NAME),
            "name": cut(error.name, LONGEST_NAME),
            "reason": cut(str(error), 5000),
        },
    )
