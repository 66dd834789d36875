"""Crediting a customer an amount that the next invoices use up."""

from billing.models import StripeRequest, Subscription, User
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from glyphforge.errors import Refused
from glyphforge.money import money


def currency_of(user: User) -> str | None:
    """The currency in which the customer is invoiced: of the newest subscription at Stripe; None without one."""
    found = Subscription.objects.filter(user=user, stripe_customer_id=user.stripe_customer_id)
    found = found.filter(stripe_subscription_id__isnull=False)
    return found.order_by("-created_at").values_list("currency", flat=True).first()


def credit(user: User, amount_cents: int, currency: str, *, actor: str, reason: str, token: str = "") -> StripeRequest:
    """Credit the customer so much, in the smallest unit of the currency that they are invoiced in.

    See https://docs.stripe.com/billing/customer/balance. Refuses who is not at Stripe or was never invoiced, another
    currency, and no amount; `billing.stripe.requests.outbox.ask` says what `token` is and when `Notice` is raised.
    """

    def intend() -> Intent:
        known = User.objects.get(pk=user.pk)
        if not known.stripe_customer_id:
            raise Refused("The customer is not one at Stripe.")
        invoiced = currency_of(known)
        if invoiced != currency:
            has = f"in {invoiced.upper()}" if invoiced else "in no currency yet"
            raise Refused(f"The customer is invoiced {has}, not in {currency.upper()}.")
        if amount_cents < 1:
            raise Refused(f"A credit is more than nothing, not {money(amount_cents, currency)}.")
        wanted = {"amount_cents": amount_cents, "currency": currency}
        return Intent(StripeRequest.Kind.CREDIT, known.stripe_customer_id, known.pk, known, wanted)

    return outbox.ask(intend, actor=actor, reason=reason, token=token)
