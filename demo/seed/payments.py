"""The charges of the synthetic subscriptions, failures and refunds among them."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from billing.models import Payment, Subscription
from demo.seed.identities import stripe_id, whole_seconds
from demo.seed.subscriptions import Paid

FAILURES = (
    "Your card was declined.",
    "Your card has insufficient funds.",
    "Your card has expired.",
    "Your bank requires authentication for this payment.",
)
IN_ARREARS = {Subscription.Status.PAST_DUE, Subscription.Status.UNPAID}


def rows(rng: random.Random, subscriptions: list[Paid], now: datetime) -> Iterator[dict[str, Any]]:
    """One row a charge: each period of each subscription, with a failed attempt before some of them."""
    for subscription in subscriptions:
        if subscription.status == Subscription.Status.TRIALING:
            continue
        due = subscription.started_at
        while due < (subscription.ended_at or now):
            is_last = due + subscription.period >= now
            yield from _charges(rng, subscription, due, fails=is_last and subscription.status in IN_ARREARS, now=now)
            due += subscription.period


def _charges(
    rng: random.Random, subscription: Paid, due: datetime, *, fails: bool, now: datetime
) -> Iterator[dict[str, Any]]:
    invoice = stripe_id(rng, "in")
    if fails or rng.random() < 0.02:
        yield _row(rng, subscription, invoice, due, Payment.Status.FAILED, failure_message=rng.choice(FAILURES))
        due = min(due + timedelta(days=1), now)
    if fails:
        return
    fate = rng.random()
    amount = subscription.charge_cents
    if fate < 0.006:
        yield _row(rng, subscription, invoice, due, Payment.Status.REFUNDED, refunded_cents=amount)
    elif fate < 0.01:
        yield _row(rng, subscription, invoice, due, Payment.Status.PARTIALLY_REFUNDED, refunded_cents=amount // 3)
    elif fate < 0.012:
        yield _row(rng, subscription, invoice, due, Payment.Status.DISPUTED)
    else:
        yield _row(rng, subscription, invoice, due, Payment.Status.SUCCEEDED)


def _row(
    rng: random.Random,
    subscription: Paid,
    invoice: str,
    at: datetime,
    status: str,
    *,
    failure_message: str | None = None,
    refunded_cents: int = 0,
) -> dict[str, Any]:
    return {
        "user_id": subscription.customer.id,
        "stripe_invoice_id": invoice,
        "stripe_payment_intent_id": stripe_id(rng, "pi"),
        "stripe_charge_id": stripe_id(rng, "ch"),
        "amount_cents": subscription.charge_cents,
        "status": status,
        "refunded_cents": refunded_cents,
        "failure_message": failure_message,
        "paid_at": None if status == Payment.Status.FAILED else whole_seconds(at),
        "created_at": whole_seconds(at),
    }
