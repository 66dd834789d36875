"""What staff decide about an invoice that is overdue: who looks after it, and until when the customer has time."""

from datetime import date, timedelta

from django.db import transaction
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce, Now

from billing.models import OpenInvoice, PaymentCase
from glyphforge.audit import acting_as, record
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused

LONGEST_EXTENSION = timedelta(days=60)


def give_until(invoice: OpenInvoice, until: date, *, actor: str, reason: str) -> PaymentCase:
    """Note that the customer has time to pay until that day (UTC), the day included; returns what is known of it.

    The invoice raises no alert until then; at Stripe nothing changes. Whoever gives time looks after the invoice if
    nobody does. A later call replaces the day. Refuses one that is past or over 60 days ahead, and what is not owed.
    """
    today = database_time().date()
    if not today <= until <= today + LONGEST_EXTENSION:
        raise Refused(f"{until} is not within the next {LONGEST_EXTENSION.days} days: time is given from today on.")
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        known = open_invoice(invoice)
        case = _case(known)
        PaymentCase.objects.filter(pk=case.pk).update(
            owner=Coalesce(F("owner"), Value(actor)),
            extended_until_on=until,
            extension_reason=reason,
            extended_by=actor,
            extended_at=Now(),
        )
        audit("extend_payment", known, reason=reason, until=str(until))
    case.refresh_from_db()
    return case


def take_over(invoice: OpenInvoice, *, actor: str, reason: str) -> PaymentCase:
    """Note that `actor` looks after the invoice from now on; refuses who does already, and what is not owed."""
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        known = open_invoice(invoice)
        case = _case(known)
        if case.owner == actor:
            raise Refused(f"{actor} looks after {named(known)} already.")
        audit("take_over_payment", known, reason=reason, owner=actor, before=case.owner)
        case.owner = actor
        case.save(update_fields=["owner"])
    return case


def of_case() -> dict[str, Subquery]:
    """What staff know of unpaid invoices, to annotate their rows with: `owner` and `extended_until_on`, or None."""
    case = PaymentCase.objects.filter(stripe_invoice_id=OuterRef("stripe_invoice_id"))
    return {name: Subquery(case.values(name)) for name in ("owner", "extended_until_on")}


def open_invoice(invoice: OpenInvoice) -> OpenInvoice:
    """The invoice as it is now, locked until the transaction ends; refuses one that is paid, gone or given up."""
    found = OpenInvoice.objects.select_for_update(of=("self",)).select_related("user").filter(pk=invoice.pk).first()
    if found is None or found.status != OpenInvoice.Status.OPEN:
        became = found.get_status_display().lower() if found else "paid, void or gone"
        raise Refused(f"The invoice {named(invoice)} is {became}: there is nothing to ask for.")
    return found


def named(invoice: OpenInvoice) -> str:
    """The invoice's number, or its id where it has none."""
    return invoice.number or invoice.stripe_invoice_id


def audit(action: str, invoice: OpenInvoice, *, reason: str, **values: str | None) -> int:
    """Record an act on an invoice, as one on its subscription, which stays; returns the audit row's id."""
    said = {"invoice": invoice.stripe_invoice_id, **values}
    return record(action, table_name="subscriptions", row_id=invoice.subscription_id, reason=reason, new_values=said)


def _case(invoice: OpenInvoice) -> PaymentCase:
    """What staff know of the invoice; the invoice's lock keeps others from making it too."""
    case, _ = PaymentCase.objects.get_or_create(
        stripe_invoice_id=invoice.stripe_invoice_id, defaults={"user": invoice.user}
    )
    return case
