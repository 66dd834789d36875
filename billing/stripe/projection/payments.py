"""Stripe's charges as payments: one row a charge, failed ones included, and one an invoice that was paid elsewhere."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing.models import Payment
from billing.stripe import tiers
from billing.stripe.charge_history import ChargeHistory
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Charge, Invoice
from billing.stripe.projection import foreign, movements, users
from billing.stripe.projection.movements import Told
from billing.stripe.projection.rows import Columns, moment, write
from glyphforge.text import cut

LONGEST_CODE = 255  # octets
LONGEST_MESSAGE = 2000  # characters
LONGEST_ADDRESS = 8192  # octets
# What a payment says of the invoice that it paid, or tried to, and what it says where it paid none.
INVOICE_COLUMNS: Columns = {"stripe_invoice_id": None, "invoice_url": None, "attempt_count": 0, "next_attempt_at": None}
RELEASED = "The authorization was released; nothing was charged."


def project(history: ChargeHistory, told: Told | None = None) -> Payment | None:
    """Bring the payment of a charge and its movements in line with it; None where it is none of ours.

    It is not without a customer, and where it paid for foreign things.

    `told` are the moments that an event tells. Asks Stripe only for a customer who is new here, and where something is
    foreign for the customer's invoices. The caller holds the customer's lock. Raises UnlinkedCustomerError when only a
    person can say whose charge it is.
    """
    charge = history.charge
    customer_id = identifier(charge.get("customer"))
    if customer_id is None:
        return None
    user = users.of_customer(customer_id)
    # Read only now that the user is held.
    row = Payment.objects.filter(stripe_charge_id=charge["id"]).first()
    if foreign.is_foreign_charge(charge):
        if row:
            row.delete()
        foreign.forget_user(customer_id)
        return None
    row = row or Payment(stripe_charge_id=charge["id"])
    wanted = movements.expected(history, told)
    # Nothing is said where nobody links the two, so a link that is known already stays.
    invoice = columns_of(history.invoice) if history.invoice else {}
    write(row, _columns(charge) | invoice | {"user_id": user.pk, "stripe_customer_id": customer_id})
    movements.post(row, wanted)
    # Only now: a row that counts as paid has its movements.
    write(row, {"status": _status(history, row.refunded_cents, row.disputed_cents)})
    return row


def values(history: ChargeHistory, row: Payment | None = None) -> Columns:
    """The columns of a payment that the charge decides, totals included; amounts in the currency's smallest unit.

    `row` is the payment as it is here: what Stripe does not date stays dated as it is there.
    """
    held = movements.held_by(row) if row else {}
    totals = movements.totals(movements.settled_with(movements.expected(history), held))
    status = _status(history, totals["refunded_cents"], totals["disputed_cents"])
    return {**_columns(history.charge), **totals, "status": status}


def _columns(charge: Charge) -> Columns:
    amount, _ = movements.amounts(charge)
    return {
        "stripe_payment_intent_id": identifier(charge.get("payment_intent")),
        "amount_cents": amount,
        "currency": charge["currency"],
        "failure_code": _code(charge.get("failure_code")),
        "decline_code": _code(decline_code(charge)),
        "failure_message": RELEASED if _is_released(charge) else _label(charge.get("failure_message")),
        "receipt_url": _address(charge.get("receipt_url")),
        "created_at": moment(charge["created"]),
    }


def decline_code(charge: Charge) -> str | None:
    """Why the bank, or Radar, did not let a charge through; None of one that failed otherwise, or did not.

    https://docs.stripe.com/api/charges/object#charge_object-outcome-reason
    """
    outcome = charge.get("outcome") or {}
    return outcome.get("reason") if charge["status"] == "failed" else None


def _status(history: ChargeHistory, refunded: int, disputed: int) -> str:
    """The first status that holds of: failed, pending, disputed, refunded in whole or part, succeeded.

    A released authorization has failed. A dispute counts for as long as it keeps money; a charge that is marked as
    disputed and whose disputes nobody knows is taken at its word: https://docs.stripe.com/api/disputes/object
    """
    charge = history.charge
    amount, _ = movements.amounts(charge)
    if charge["status"] == "failed" or _is_released(charge):
        return Payment.Status.FAILED
    if not movements.is_settled(charge):
        return Payment.Status.PENDING
    if disputed or (charge.get("disputed") and not history.disputes):
        return Payment.Status.DISPUTED
    if refunded:
        return Payment.Status.REFUNDED if refunded >= amount else Payment.Status.PARTIALLY_REFUNDED
    return Payment.Status.SUCCEEDED


def _is_released(charge: Charge) -> bool:
    """Whether it is an authorization that was given up, or ran out, before anything was captured."""
    return not charge.get("captured", True) and bool(charge.get("refunded"))


def link_invoice(invoice: Invoice) -> None:
    """Tell the payments that paid `invoice`, or tried to, what it says of them; write the one that was made elsewhere.

    Those of a foreign invoice are removed. Reads the invoice's `payments`, as the gateway expands them; payments that
    are not here yet find it when they come. The caller holds the customer's lock. Raises UnlinkedCustomerError when
    only a person can say who paid elsewhere.
    """
    if tiers.is_anything_foreign() and foreign.is_foreign_invoice(invoice):
        tried(invoice).delete()
        if customer_id := identifier(invoice.get("customer")):
            foreign.forget_user(customer_id)
        return
    columns = columns_of(invoice)
    for row in tried(invoice):
        write(row, columns)
    _project_out_of_band(invoice, columns)


def tried(invoice: Invoice) -> QuerySet[Payment]:
    """The payments here that paid the invoice, or tried to, as it says itself."""
    ids = paid_by(invoice) or frozenset()
    elsewhere = Q(stripe_invoice_id=invoice["id"], paid_out_of_band=True)
    return Payment.objects.filter(Q(stripe_payment_intent_id__in=ids) | Q(stripe_charge_id__in=ids) | elsewhere)


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
    write(row, INVOICE_COLUMNS)


def _project_out_of_band(invoice: Invoice, columns: Columns) -> None:
    """A payment without a charge for what was paid by bank transfer, say, and marked as paid by hand.

    https://docs.stripe.com/api/invoices/pay#pay_invoice-paid_out_of_band
    """
    paid = _paid_out_of_band(invoice)
    customer_id = identifier(invoice.get("customer"))
    row = Payment.objects.filter(stripe_invoice_id=invoice["id"], paid_out_of_band=True).first()
    if customer_id is None or not (paid or row):
        return
    user = users.of_customer(customer_id)
    row = row or Payment(paid_out_of_band=True)
    paid_at = moment((invoice.get("status_transitions") or {}).get("paid_at") or invoice["created"])
    write(
        row,
        columns
        | {"user_id": user.pk, "stripe_customer_id": customer_id}
        | {"currency": invoice["currency"], "created_at": paid_at}
        | ({"amount_cents": paid} if paid else {}),
    )
    movements.post(row, movements.out_of_band(invoice["id"], paid, paid_at))
    write(row, {"status": Payment.Status.SUCCEEDED if paid else Payment.Status.FAILED})


def _paid_out_of_band(invoice: Invoice) -> int:
    """What of a paid invoice was paid outside of Stripe: all, where it is marked so and no amount is said."""
    if invoice.get("status") != "paid":
        return 0
    marked = invoice.get("amount_paid") if invoice.get("paid_out_of_band") else 0
    return int(invoice.get("amount_paid_off_stripe") or marked or 0)


def columns_of(invoice: Invoice) -> Columns:
    """What an invoice says of the payments that paid it, or tried to: those of INVOICE_COLUMNS."""
    return {
        "stripe_invoice_id": invoice["id"],
        "invoice_url": _address(invoice.get("hosted_invoice_url")),
        "attempt_count": invoice.get("attempt_count") or 0,
        "next_attempt_at": moment(invoice.get("next_payment_attempt")),
    }


def _code(text: str | None) -> str | None:
    """The code, such as card_declined; none where it is too long to be one."""
    return text if text and len(text.encode()) <= LONGEST_CODE else None


def _label(text: str | None) -> str | None:
    return text and cut(text, LONGEST_MESSAGE)


def _address(url: str | None) -> str | None:
    """The address; none where it is too long for us, as a part of it leads nowhere."""
    return url if url and len(url.encode()) <= LONGEST_ADDRESS else None
