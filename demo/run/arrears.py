"""Lets the mirror know the overdue customers of the synthetic data, whose events nobody sent."""

from django.db import transaction

from billing.models import ChargedCard, OpenInvoice, Payment, Subscription
from billing.stripe import customer_lock, mirror
from billing.stripe.events.handlers import handle_charge, handle_customer, handle_invoice
from glyphforge.observability.terminal import progress

# Others whose card is worth knowing: those who are charged next.
SOON = 40


def fetch() -> None:
    """Fetch who is overdue, with the charge that failed and the card, and the cards of who is charged next."""
    unknown = OpenInvoice.objects.filter(failure_code=None, attempt_count__gt=0).select_related("subscription")
    overdue = list(unknown.exclude(subscription__stripe_customer_id=None))
    live = Subscription.objects.filter(status="active", price_cents__gt=0, stripe_subscription_id__isnull=False)
    soon = live.exclude(pk__in=ChargedCard.objects.values("subscription_id")).exclude(stripe_customer_id=None)
    next_charged = list(soon.order_by("current_period_end").values_list("stripe_customer_id", flat=True)[:SOON])
    if not overdue:
        return
    with progress("Fetching who is overdue", len(overdue) + len(next_charged)) as advance:
        for invoice in overdue:
            _fetch(str(invoice.subscription.stripe_customer_id), invoice)
            advance(1)
        for customer_id in next_charged:
            _fetch(str(customer_id))
            advance(1)


def _fetch(customer_id: str, invoice: OpenInvoice | None = None) -> None:
    def work() -> None:
        with transaction.atomic():
            customer_lock.acquire(customer_id)
            handle_customer(customer_id)
            if invoice is None:
                return
            tried = Payment.objects.filter(stripe_invoice_id=invoice.stripe_invoice_id, status="failed")
            for charge_id in tried.values_list("stripe_charge_id", flat=True):
                handle_charge(str(charge_id))
            handle_invoice(invoice.stripe_invoice_id)

    mirror.with_catalogue(work)
