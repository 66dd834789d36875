"""What live subscriptions owe and are about to be asked for: Stripe's invoices that are not paid yet as rows.

An invoice has a row while it is unpaid and its subscription lives, so whatever is heard last of the three, the invoice,
its subscription or the charge that could not pay it, brings the row in line.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from billing.models import OpenInvoice, Payment, Subscription
from billing.stripe import mirror
from billing.stripe.errors import UnstorableError
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Invoice
from billing.stripe.projection import payments
from billing.stripe.projection.rows import Columns, moment, write
from billing.stripe.unstorable import explained
from glyphforge.database.clock import database_time

LONGEST_ADDRESS = 8192  # octets


def project(invoice: Invoice) -> None:
    """Bring the row of one invoice in line; the caller holds the customer's lock."""
    known = OpenInvoice.objects.filter(stripe_invoice_id=invoice["id"]).first()
    wanted = values(invoice)
    if wanted:
        write(known or OpenInvoice(stripe_invoice_id=invoice["id"]), wanted)
    elif known:
        known.delete()


def project_all_of(subscription: Subscription) -> None:
    """Bring the rows of a subscription's invoices in line, as when it begins or ends to live, or changes its owner.

    The caller holds the customer's lock.
    """
    unpaid: list[Invoice] = []
    if subscription.status in Subscription.LIVE and subscription.stripe_subscription_id:
        unpaid = mirror.unpaid_invoices(subscription.stripe_subscription_id)
    ours = OpenInvoice.objects.filter(subscription=subscription)
    ours.exclude(stripe_invoice_id__in=[invoice["id"] for invoice in unpaid]).delete()
    for invoice in unpaid:
        _project_beside(invoice)


def project_tried_by(payment: Payment) -> None:
    """Bring the row of the invoice that a charge tried to pay in line: it says how the last try failed.

    Where nobody says which that is, it is one of the same amount.
    """
    known = OpenInvoice.objects.filter(stripe_invoice_id=payment.stripe_invoice_id)
    if payment.stripe_invoice_id is None:
        alike = {"amount_due_cents": payment.amount_cents, "currency": payment.currency}
        known = OpenInvoice.objects.filter(user_id=payment.user_id, **alike)
    for invoice_id in known.values_list("stripe_invoice_id", flat=True):
        if invoice := mirror.invoice(invoice_id):
            _project_beside(invoice)


def _project_beside(invoice: Invoice) -> None:
    """Project an invoice beside what an event is about: one that does not fit keeps nothing else from being stored."""
    with suppress(UnstorableError), explained(f"invoice {invoice['id']}"):  # its own event and a sync say so
        project(invoice)


def remove(invoice_id: str) -> None:
    """Remove the row of an invoice that Stripe has deleted, as it may be while it is a draft."""
    OpenInvoice.objects.filter(stripe_invoice_id=invoice_id).delete()


def values(invoice: Invoice) -> Columns | None:
    """The columns of an invoice's row, `user_id` and `subscription_id` among them; None where it has none.

    It has one while something is still to be paid of it and its subscription lives. For the statuses see
    https://docs.stripe.com/invoicing/overview#invoice-statuses
    """
    subscription_id = subscription_of(invoice)
    status, amount = invoice.get("status"), invoice.get("amount_remaining")
    amount = (invoice.get("amount_due") or 0) if amount is None else amount
    if subscription_id is None or status not in OpenInvoice.Status or amount <= 0:
        return None
    live = Subscription.objects.filter(stripe_subscription_id=subscription_id, status__in=Subscription.LIVE)
    subscription = live.only("pk", "user_id").first()
    if subscription is None:
        return None
    url = invoice.get("hosted_invoice_url")
    made_at = moment(invoice["created"])
    failed = mirror.failed_try(invoice, payments.paid_by(invoice), since=made_at)
    return {
        "user_id": subscription.user_id,
        "subscription_id": subscription.pk,
        "number": invoice.get("number"),
        "status": status,
        "amount_due_cents": amount,
        "currency": invoice["currency"],
        "attempt_count": invoice.get("attempt_count") or 0,
        "next_attempt_at": moment(invoice.get("next_payment_attempt")),
        "due_at": moment(invoice.get("due_date")),
        "overdue_since": _overdue_since(invoice),
        "failure_code": failed.get("failure_code") if failed else None,
        "decline_code": payments.decline_code(failed) if failed else None,
        "hosted_invoice_url": url if url and len(url.encode()) <= LONGEST_ADDRESS else None,
        "created_at": made_at,
    }


def subscription_of(invoice: Invoice) -> str | None:
    """The id of the subscription that made an invoice, named by its `parent` since API version 2025-03-31."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return identifier(details.get("subscription") or invoice.get("subscription"))


def _overdue_since(invoice: Invoice) -> datetime | None:
    """Since when it should have been paid: its due date or, where a payment method is charged, the first try."""
    if invoice.get("status") == OpenInvoice.Status.DRAFT:
        return None
    due_at = moment(invoice.get("due_date"))
    if due_at:
        return due_at if due_at <= database_time() else None
    if not invoice.get("attempt_count"):
        return None
    return moment((invoice.get("status_transitions") or {}).get("finalized_at") or invoice["created"])
