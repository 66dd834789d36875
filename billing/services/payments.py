"""Giving money back."""

from django.db import transaction

from billing.models import Payment
from billing.services.inquiries import open_inquiries
from billing.services.stripe_calls import errors_as_refused
from billing.stripe import gateway
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused
from glyphforge.money import money

# Of a disputed payment what the dispute left can be given back.
REFUNDABLE = frozenset({Payment.Status.SUCCEEDED, Payment.Status.PARTIALLY_REFUNDED, Payment.Status.DISPUTED})


def refund(payment: Payment, *, actor: str, reason: str, amount_cents: int | None = None) -> str:
    """Refund a payment at Stripe, all that is left of it or `amount_cents`; returns the refund's id.

    `amount_cents` is in the smallest unit of the payment's currency. Our row changes when Stripe's event comes back.
    Asking twice before that makes one refund: the idempotency key is made of the charge, what was refunded of it
    before, how many refunds failed, and the amount. Stripe keeps keys for at least 24 hours:
    https://docs.stripe.com/api/idempotent_requests

    Refuses payments without a charge, failed, pending, fully refunded and fully disputed ones, more than is left, and
    while an inquiry is open that Stripe does not let be closed by a refund.
    """
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        payment = Payment.objects.select_for_update().get(pk=payment.pk)
        amount = _checked(payment, amount_cents)
        record(
            "refund",
            table_name="payment_history",
            row_id=payment.pk,
            reason=reason,
            new_values={"amount_cents": amount, "currency": payment.currency},
        )
        charge_id = str(payment.stripe_charge_id)
        with errors_as_refused():
            failed = gateway.refunds_that_failed(charge_id)
            return gateway.refund(
                charge_id,
                amount=amount,
                idempotency_key=f"refund-{charge_id}-{payment.refunded_cents}-{failed}-{amount}",
            )


def _checked(payment: Payment, amount_cents: int | None) -> int:
    if not payment.stripe_charge_id:
        raise Refused("The payment has no charge at Stripe.")
    if payment.status not in REFUNDABLE:
        raise Refused(f"A payment that is {payment.get_status_display().lower()} cannot be refunded.")
    if closed := [inquiry for inquiry in open_inquiries(payment) if not inquiry.is_refundable]:
        raise Refused(f"While the inquiry {closed[0].stripe_dispute_id} is open Stripe does not refund the payment.")
    left = payment.left_cents
    if not left:
        raise Refused("Nothing is left to refund: what was paid was refunded or taken by a dispute.")
    amount = left if amount_cents is None else amount_cents
    if not 0 < amount <= left:
        least, most, asked = (money(cents, payment.currency) for cents in (1, left, amount))
        raise Refused(f"Between {least} and {most} can be refunded, not {asked}.")
    return amount
