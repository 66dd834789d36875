"""Giving money back."""

from billing.models import Payment, StripeRequest
from billing.services.inquiries import open_inquiries
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from glyphforge.errors import Refused
from glyphforge.money import money

# Of a disputed payment what the dispute left can be given back.
REFUNDABLE = frozenset({Payment.Status.SUCCEEDED, Payment.Status.PARTIALLY_REFUNDED, Payment.Status.DISPUTED})


def refund(
    payment: Payment, *, actor: str, reason: str, amount_cents: int | None = None, token: str = ""
) -> StripeRequest:
    """Refund a payment at Stripe, all that is left of it or `amount_cents`; the request's `answer_id` is the refund's.

    `amount_cents` is in the smallest unit of the payment's currency. Our row changes when Stripe's event comes back.
    Refuses payments without a charge, failed, pending, fully refunded and fully disputed ones, more than is left, while
    an inquiry is open that Stripe does not let be closed by a refund, and what `billing.stripe.requests.outbox.ask`
    refuses, which also says what `token` is and when `Notice` is raised.
    """

    def intend() -> Intent:
        known = Payment.objects.get(pk=payment.pk)
        amount = _checked(known, amount_cents)
        wanted = {"amount_cents": amount, "currency": known.currency}
        return Intent(StripeRequest.Kind.REFUND, str(known.stripe_charge_id), known.pk, known.user, wanted)

    return outbox.ask(intend, actor=actor, reason=reason, token=token)


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
