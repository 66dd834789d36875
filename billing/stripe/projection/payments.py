"""Stripe's charges as payments: one row a charge, failed ones included; no charge, no row."""

from __future__ import annotations

from billing.models import Payment
from billing.stripe import mirror
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Charge, Dispute, Invoice
from billing.stripe.projection import users
from billing.stripe.projection.rows import Columns, moment, write
from glyphforge.text import cut

# A dispute that took no money, or gave it back.
HARMLESS_DISPUTES = frozenset({"won", "warning_closed", "prevented"})

LONGEST_MESSAGE = 2000  # characters
LONGEST_ADDRESS = 8192  # octets
RELEASED = "The authorization was released; nothing was charged."


def project(charge: Charge) -> Payment | None:
    """Bring the payment of a charge in line with it; None for a charge of no customer, which is no business of ours.

    The caller holds the customer's lock. Raises UnlinkedCustomerError when only a person can say whose charge it is.
    """
    customer_id = identifier(charge.get("customer"))
    if customer_id is None:
        return None
    user = users.of_customer(customer_id)
    row = Payment.objects.filter(stripe_charge_id=charge["id"]).first() or Payment(stripe_charge_id=charge["id"])
    owner = {"user_id": user.pk, "stripe_customer_id": customer_id}
    write(row, values(charge) | owner | _invoice_columns(charge, customer_id))
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
    """Tell the payments that paid `invoice`, or tried to, its id and address.

    Reads the invoice's `payments`, as the gateway expands them; payments that are not here yet find it when they come.
    """
    columns = _columns_of(invoice)
    for payment_intent_id, charge_id in _paid_by(invoice):
        found = Payment.objects.none()
        if payment_intent_id:
            found = Payment.objects.filter(stripe_payment_intent_id=payment_intent_id)
        if charge_id:
            found |= Payment.objects.filter(stripe_charge_id=charge_id)
        for row in found:
            write(row, columns)


def _invoice_columns(charge: Charge, customer_id: str) -> Columns:
    """The invoice of a charge: named by the charge before API version 2025-03-31, by the invoice's payments since.

    Nothing is said where nobody links the two, so a link that is known already stays.
    """
    named = identifier(charge.get("invoice"))
    if named:
        return _columns_of(mirror.invoice(named) or {"id": named})
    invoice = mirror.invoice_paid_by(customer_id, charge["id"], identifier(charge.get("payment_intent")))
    return _columns_of(invoice) if invoice else {}


def _columns_of(invoice: Invoice) -> Columns:
    return {"stripe_invoice_id": invoice["id"], "invoice_url": _address(invoice.get("hosted_invoice_url"))}


def _label(text: str | None) -> str | None:
    return text and cut(text, LONGEST_MESSAGE)


def _address(url: str | None) -> str | None:
    """The address; none where it is too long for us, as a part of it leads nowhere."""
    return url if url and len(url.encode()) <= LONGEST_ADDRESS else None


def _paid_by(invoice: Invoice) -> list[tuple[str | None, str | None]]:
    """Pairs of payment intent and charge that paid, or tried to pay, the invoice."""
    members = (invoice.get("payments") or {}).get("data", [])
    pairs = [
        (
            identifier((member.get("payment") or {}).get("payment_intent")),
            identifier((member.get("payment") or {}).get("charge")),
        )
        for member in members
    ]
    return [pair for pair in pairs if any(pair)]
