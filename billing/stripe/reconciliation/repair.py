"""Bringing differing rows in line: whatever differs, the customer's whole state is fetched and projected anew."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing.models import Difference, UnmatchedCustomer
from billing.stripe import findings, gateway, inbox
from billing.stripe.errors import MissingError, PermanentError, UnlinkedCustomerError
from billing.stripe.resync import resync

Status = Difference.Status


def heal(differences: QuerySet[Difference]) -> int:
    """Heal the open ones among ``differences``; returns how many. The others say why in their note.

    What Stripe does not know stays as it is: a wrong API key would look the same, and nothing here
    is deleted on that ground. Raises TransientError when Stripe does not answer.
    """
    still_open = differences.filter(status=Status.OPEN)
    healed = 0
    for stripe_id in still_open.filter(object_kind="event").values_list("stripe_id", flat=True):
        wanted = Q(object_kind="event", stripe_id=stripe_id)
        try:
            inbox.store(gateway.as_json(gateway.retrieve("event", stripe_id)))
        except MissingError as error:
            findings.explain(wanted, f"{error} It keeps events for 30 days.")
        else:
            healed += findings.close(wanted, Status.HEALED)
    objects = still_open.exclude(object_kind="event")
    unknown = Q(pk__in=list(objects.filter(kind=Difference.Kind.MISSING_THERE).values_list("pk", flat=True)))
    findings.explain(unknown, "Stripe does not know it: decide by hand.")
    curable = objects.exclude(kind=Difference.Kind.MISSING_THERE)
    for customer_id in sorted({row.stripe_customer_id for row in curable if row.stripe_customer_id}):
        mine = Q(pk__in=[row.pk for row in curable if row.stripe_customer_id == customer_id])
        try:
            resync(customer_id)
        except PermanentError as error:
            if isinstance(error, UnlinkedCustomerError):
                remember_unmatched(error)
            findings.explain(mine, str(error))
        else:
            healed += findings.close(mine, Status.HEALED)
    return healed


def remember_unmatched(error: UnlinkedCustomerError) -> None:
    """Put the customer before support, who may link it or create a user."""
    UnmatchedCustomer.objects.update_or_create(
        stripe_customer_id=error.stripe_customer_id,
        defaults={"email": error.email, "name": error.name, "reason": str(error)},
    )
