"""Stripe's charges as payments: one row a charge, failed ones included; no charge, no row."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing.models import Payment
from billing.stripe import mirror
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Charge, Dispute, Invoice
from billing.stripe.projection import foreign, users
from billing.stripe.projection.rows import Columns, moment, write
from glyphforge.text import cut

# A dispute that took no money, or gave it back.
HARMLESS_DISPUTES = frozenset({"won", "warning_closed", "prevented"})

LONGEST_MESSAGE = 2000  # characters
LONGEST_ADDRESS = 8192  # octets
# What a payment says of the invoice that it paid, or tried to.
INVOICE_COLUMNS = frozenset({"stripe_invoice_id", "invoice_url"})
RELEASED = "The authorization was released; nothing was charged."


def project(charge: Charge) -> Payment | None:
    """Bring the payment of a charge in line with it; None for one of no customer or for foreign things.

    The caller holds the customer's lock. Raises UnlinkedCustomerError when only a person can say whose charge it is.
    """
    customer_id = identifier(charge.get("customer"))
    if customer_id is None:
        return None
    row = Payment.objects.select_related("user").filter(stripe_charge_id=charge["id"]).first()
    user = users.of_customer(customer_id, row.user if row else None)
    if foreign.is_foreign_charge(charge):
        if row:
            row.delete()
        foreign.forget_user(customer_id)
        return None
    row = row or Payment(stripe_charge_id=charge["id"])
    write(row, values(charge) | {"user_id": user.pk} | _invoice_columns(charge))
    return row


def values(charge: Charge, disputes: list[Dispute] | None = None) -> Columns:
    """The columns of a payment that the charge and its disputes decide; amounts in the currency's smallest unit.

    `disputes` are all that the charge has; left out, those that are mirrored count.
    """
    paid = charge["status"] == "succeeded" and charge.get("captured", True)
    amount, refunded = _amounts(charge)
    return {
        "stripe_payment_intent_id": identifier(charge.get("payment_intent")),
        "amount_cents": amount,
        "currency": charge["currency"],
        "status": status(charge, disputes),
        "refunded_cents": refunded,
        "failure_message": RELEASED if _is_released(charge) else _label(charge.get("failure_message")),
        "receipt_url": _address(charge.get("receipt_url")),
        "paid_at": moment(charge["created"]) if paid else None,
        "created_at": moment(charge["created"]),
    }


def status(charge: Charge, disputes: list[Dispute] | None = None) -> str:
    """The first status that holds of: failed, disputed, refunded in whole or part, pending, succeeded.

    A released authorization has failed. A dispute counts unless it took no money or gave it back:
    https://docs.stripe.com/api/disputes/object
    """
    amount, refunded = _amounts(charge)
    if charge["status"] == "failed" or _is_released(charge):
        return Payment.Status.FAILED
    if charge.get("disputed") and _costs(mirror.charge_disputes(charge["id"]) if disputes is None else disputes):
        return Payment.Status.DISPUTED
    if refunded:
        return Payment.Status.REFUNDED if refunded >= amount else Payment.Status.PARTIALLY_REFUNDED
    if charge["status"] == "pending" or not charge.get("captured", True):
        return Payment.Status.PENDING
    return Payment.Status.SUCCEEDED


def _amounts(charge: Charge) -> tuple[int, int]:
    """What was charged, and what of that was given back.

    Of an authorization that was captured in part, or not at all, Stripe counts the rest as refunded; nobody paid it.
    """
    amount, refunded = int(charge["amount"]), int(charge.get("amount_refunded") or 0)
    captured = charge.get("amount_captured")
    if charge["status"] != "succeeded" or captured is None:
        return amount, refunded
    if not charge.get("captured", True):
        return amount, 0
    return int(captured), max(refunded - (amount - int(captured)), 0)


def _is_released(charge: Charge) -> bool:
    """Whether it is an authorization that was given up, or ran out, before anything was captured."""
    return not charge.get("captured", True) and bool(charge.get("refunded"))


def _costs(disputes: list[Dispute]) -> bool:
    """A charge stays marked as disputed for ever: only its disputes say whether that was lost, won or is open."""
    return not disputes or any(dispute.get("status") not in HARMLESS_DISPUTES for dispute in disputes)


def link_invoice(invoice: Invoice) -> None:
    """Tell the payments that paid `invoice`, or tried to, its id and address; those of a foreign one are removed.

    Reads the invoice's `payments`, as the gateway expands them; payments that are not here yet find it when they come.
    """
    columns = columns_of(invoice)
    is_foreign = foreign.is_foreign_invoice(invoice)
    found = tried(invoice)
    if is_foreign:
        found.delete()
    for row in found:
        write(row, columns)
    customer_id = identifier(invoice.get("customer"))
    if is_foreign and customer_id:
        foreign.forget_user(customer_id)


def tried(invoice: Invoice) -> QuerySet[Payment]:
    """The payments here that paid the invoice, or tried to, as it says itself."""
    ids = paid_by(invoice) or frozenset()
    return Payment.objects.filter(Q(stripe_payment_intent_id__in=ids) | Q(stripe_charge_id__in=ids))


def paid_by(invoice: Invoice) -> frozenset[str] | None:
    """The ids of the payment intents and charges that paid the invoice, or tried to; None where it says nothing."""
    members = invoice.get("payments")
    if members is None:
        return None
    paid = [member.get("payment") or {} for member in members.get("data", [])]
    return frozenset(
        found
        for payment in paid
        for found in (identifier(payment.get("payment_intent")), identifier(payment.get("charge")))
        if found
    )


def unlink(row: Payment) -> None:
    """Forget the invoice of a payment that paid none."""
    write(row, dict.fromkeys(INVOICE_COLUMNS))


def _invoice_columns(charge: Charge) -> Columns:
    """The invoice of a charge: named by the charge before API version 2025-03-31, by the invoice's payments since.

    Nothing is said where nobody links the two, so a link that is known already stays.
    """
    if invoice := mirror.invoice_of(charge):
        return columns_of(invoice)
    named = identifier(charge.get("invoice"))
    return columns_of({"id": named}) if named else {}


def columns_of(invoice: Invoice) -> Columns:
    """What an invoice says of the payments that paid it, or tried to: those of INVOICE_COLUMNS."""
    return {"stripe_invoice_id": invoice["id"], "invoice_url": _address(invoice.get("hosted_invoice_url"))}


def _label(text: str | None) -> str | None:
    return text and cut(text, LONGEST_MESSAGE)


def _address(url: str | None) -> str | None:
    """The address; none where it is too long for us, as a part of it leads nowhere."""
    return url if url and len(url.encode()) <= LONGEST_ADDRESS else None
