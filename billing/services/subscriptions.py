"""What Stripe is asked to do with a customer's subscription: end it, let it go on, pause what it collects.

Our row changes when Stripe's event comes back. All of it goes through `billing.stripe.requests.outbox.ask`, which says
what `token` is, what else is refused and when `Notice` is raised.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from billing.models import StripeRequest, Subscription
from billing.stripe.requests import outbox
from billing.stripe.requests.outbox import Intent
from glyphforge.errors import Refused

Kind = StripeRequest.Kind


def cancel_subscription(
    subscription: Subscription,
    *,
    actor: str,
    reason: str,
    at_period_end: bool = True,
    invoice_now: bool = False,
    prorate: bool = False,
    token: str = "",
) -> StripeRequest:
    """End the subscription with its period or now; neither refunds: https://docs.stripe.com/api/subscriptions/cancel

    What ends now may bill what is not billed yet (`invoice_now`), metered usage above all, which is lost otherwise, and
    credit the rest of the period (`prorate`). Refuses the free plan, and one that has ended or ends already.
    """
    if not at_period_end:
        wanted = {"invoice_now": invoice_now, "prorate": prorate}
        terms = {name: True for name, value in wanted.items() if value}
        return _ask(Kind.CANCEL_NOW, subscription, terms, actor=actor, reason=reason, token=token)

    def check(known: Subscription) -> None:
        if known.cancel_at_period_end:
            raise Refused("The subscription already ends with its period.")

    return _ask(Kind.CANCEL_AT_PERIOD_END, subscription, actor=actor, reason=reason, token=token, check=check)


def resume_subscription(subscription: Subscription, *, actor: str, reason: str, token: str = "") -> StripeRequest:
    """Take back an end that is set, of the period or another moment.

    Refuses the free plan, and one that has ended or is not set to end.
    """

    def check(known: Subscription) -> None:
        if not known.is_set_to_end:
            raise Refused("The subscription is not set to end.")

    return _ask(Kind.RESUME, subscription, actor=actor, reason=reason, token=token, check=check)


def pause_collection(
    subscription: Subscription,
    *,
    actor: str,
    reason: str,
    behavior: str,
    resumes_at: datetime | None = None,
    token: str = "",
) -> StripeRequest:
    """Let Stripe make invoices and not collect them, until `resumes_at` or until it is resumed.

    `behavior` says what becomes of them: `keep_as_draft`, `mark_uncollectible` or `void`, see
    https://docs.stripe.com/billing/subscriptions/pause-payment. Refuses the free plan and one that has ended.
    """
    terms: dict[str, Any] = {"behavior": behavior}
    if resumes_at:
        terms["resumes_at"] = int(resumes_at.timestamp())
    return _ask(Kind.PAUSE_COLLECTION, subscription, terms, actor=actor, reason=reason, token=token)


def resume_collection(subscription: Subscription, *, actor: str, reason: str, token: str = "") -> StripeRequest:
    """Let Stripe collect again what was paused. Refuses the free plan and one that has ended."""
    return _ask(Kind.RESUME_COLLECTION, subscription, actor=actor, reason=reason, token=token)


def extend_trial(
    subscription: Subscription, *, actor: str, reason: str, until: datetime, token: str = ""
) -> StripeRequest:
    """Let the trial end later; nothing is charged or given back for that.

    Refuses a subscription that is not in its trial, and an end that is not later than the one it has.
    """

    def check(known: Subscription) -> None:
        if known.status != Subscription.Status.TRIALING or known.trial_end is None:
            raise Refused("The subscription is not in its trial.")
        if until <= known.trial_end:
            raise Refused(f"The trial goes on until {known.trial_end:%Y-%m-%d %H:%M} UTC already.")

    terms = {"trial_end": int(until.timestamp())}
    return _ask(Kind.EXTEND_TRIAL, subscription, terms, actor=actor, reason=reason, token=token, check=check)


def apply_coupon(subscription: Subscription, *, actor: str, reason: str, coupon: str, token: str = "") -> StripeRequest:
    """Give the subscription a coupon's discount beside what it has, from its next invoice on.

    See https://docs.stripe.com/billing/subscriptions/coupons. Stripe refuses a coupon that it does not know or that is
    used up.
    """
    return _ask(Kind.APPLY_COUPON, subscription, {"coupon": coupon}, actor=actor, reason=reason, token=token)


def remove_coupon(
    subscription: Subscription, *, actor: str, reason: str, discount: str, token: str = ""
) -> StripeRequest:
    """Take one of its discounts, by the discount's id, from the subscription; its other ones stay."""
    return _ask(Kind.REMOVE_COUPON, subscription, {"discount": discount}, actor=actor, reason=reason, token=token)


def release_schedule(subscription: Subscription, *, actor: str, reason: str, token: str = "") -> StripeRequest:
    """Take back what a schedule has planned: the subscription goes on as it is. Refuses one without a schedule."""

    def check(known: Subscription) -> None:
        if not known.stripe_schedule_id:
            raise Refused("No schedule manages the subscription.")

    return _ask(Kind.RELEASE_SCHEDULE, subscription, actor=actor, reason=reason, token=token, check=check)


def _ask(
    kind: StripeRequest.Kind,
    subscription: Subscription,
    terms: dict[str, Any] | None = None,
    *,
    actor: str,
    reason: str,
    token: str,
    check: Callable[[Subscription], None] = lambda known: None,
) -> StripeRequest:
    def intend() -> Intent:
        known = Subscription.objects.get(pk=subscription.pk)
        stripe_id = at_stripe(known)
        check(known)
        return Intent(kind, stripe_id, known.pk, known.user, terms or {})

    return outbox.ask(intend, actor=actor, reason=reason, token=token)


def at_stripe(subscription: Subscription) -> str:
    """The id of a live subscription at Stripe; refuses the free plan and one that has ended."""
    if not subscription.stripe_subscription_id:
        raise Refused("The free plan is not a subscription at Stripe.")
    if subscription.status not in Subscription.LIVE:
        raise Refused("The subscription has ended already.")
    return subscription.stripe_subscription_id
