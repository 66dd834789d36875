"""Ending a customer's subscription at Stripe, now or with its period, and taking that back."""

from django.db import transaction

from billing.models import Subscription
from billing.services.stripe_calls import errors_as_refused
from billing.stripe import gateway
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused


def cancel_subscription(subscription: Subscription, *, actor: str, reason: str, at_period_end: bool = True) -> None:
    """Ask Stripe to end the subscription, now or with its period; our row changes when Stripe's event comes back.

    Neither refunds anything: https://docs.stripe.com/api/subscriptions/cancel. Refuses the free plan, a subscription
    that has ended or already ends with its period, and what Stripe refuses.
    """
    stripe_id = _at_stripe(subscription)
    if at_period_end and subscription.cancel_at_period_end:
        raise Refused("The subscription already ends with its period.")
    action = "cancel_at_period_end" if at_period_end else "cancel_now"
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        audit_id = record(action, table_name="subscriptions", row_id=subscription.pk, reason=reason)
        with errors_as_refused():
            gateway.cancel_subscription(
                stripe_id, at_period_end=at_period_end, idempotency_key=f"{action}-{stripe_id}-{audit_id}"
            )


def resume_subscription(subscription: Subscription, *, actor: str, reason: str) -> None:
    """Take back an end that is set, of the period or another moment; our row changes when Stripe's event comes back.

    Refuses the free plan, a subscription that has ended or is not set to end, and what Stripe refuses.
    """
    stripe_id = _at_stripe(subscription)
    if not subscription.is_set_to_end:
        raise Refused("The subscription is not set to end.")
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        audit_id = record("resume", table_name="subscriptions", row_id=subscription.pk, reason=reason)
        with errors_as_refused():
            gateway.resume_subscription(stripe_id, idempotency_key=f"resume-{stripe_id}-{audit_id}")


def _at_stripe(subscription: Subscription) -> str:
    if not subscription.stripe_subscription_id:
        raise Refused("The free plan is not a subscription at Stripe: there is nothing to cancel.")
    if subscription.status not in Subscription.LIVE:
        raise Refused("The subscription has ended already.")
    return subscription.stripe_subscription_id
