"""Giving money back."""

from billing.models import Payment, StripeRequest
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from glyphforge.errors import Refused
from glyphforge.money import money

REFUNDABLE = frozenset({Payment.Status.SUCCEEDED, Payment.Status.PARTIALLY_REFUNDED})


def refund(
    payment: Payment, *, actor: str, reason: str, amount_cents: int | None = None, token: str = ""
) -> StripeRequest:
    """Refund a payment at Stripe, all that is left of it or `amount_cents`; the request's `answer_id` is the refund's.

    `amount_cents` is in the smallest unit of the payment's currency. Our row changes when Stripe's event comes back.
    Refuses payments without a charge, failed, disputed, pending and fully refunded ones, more than is left, and what
    `billing.stripe.requests.outbox.ask` refuses, which also says what `token` is and when `Notice` is raised.
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
    left = payment.left_cents
    amount = left if amount_cents is None else amount_cents
    if not 0 < amount <= left:
        least, most, asked = (money(cents, payment.currency) for cents in (1, left, amount))
        raise Refused(f"Between {least} and {most} can be refunded, not {asked}.")
    return amount
