"""The charges of the synthetic subscriptions, failures and refunds among them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.models import Payment, PaymentMovement, Subscription
from demo.seed.identities import new_uuid, stripe_id, whole_seconds
from demo.seed.subscriptions import Paid

# Code, what the bank said and message, as https://docs.stripe.com/declines/codes has them.
FAILURES = (
    ("card_declined", "generic_decline", "Your card was declined."),
    ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    ("expired_card", "expired_card", "Your card has expired."),
    ("authentication_required", "authentication_required", "Your bank requires authentication for this payment."),
)
IN_ARREARS = {Subscription.Status.PAST_DUE, Subscription.Status.UNPAID}
# How long after a payment its money went out again.
REFUNDED_WITHIN, DISPUTED_WITHIN = timedelta(days=14), timedelta(days=45)


@dataclass(frozen=True)
class Charge:
    """A row of `payment_history`, still without totals, and the rows of `payment_movements` that they are made of."""

    row: dict[str, Any]
    movements: list[dict[str, Any]]


def generate(rng: random.Random, subscriptions: list[Paid], now: datetime) -> Iterator[Charge]:
    """Each period of each subscription, with a failed attempt before some of them."""
    for subscription in subscriptions:
        if subscription.status == Subscription.Status.TRIALING:
            continue
        due = subscription.started_at
        while due < (subscription.ended_at or now):
            is_last = due + subscription.period >= now
            yield from _charges(rng, subscription, due, fails=is_last and subscription.status in IN_ARREARS, now=now)
            due += subscription.period


def _charges(rng: random.Random, subscription: Paid, due: datetime, *, fails: bool, now: datetime) -> Iterator[Charge]:
    invoice = stripe_id(rng, "in")
    if fails or rng.random() < 0.02:
        charge = Charge(_row(rng, subscription, invoice, due, failure=rng.choice(FAILURES)), [])
        if fails:
            charge.row.update(_next_try(subscription, due, now))
        yield charge
        due = min(due + timedelta(days=1), now)
    if fails:
        return
    charge = Charge(_row(rng, subscription, invoice, due), [])
    amount = subscription.charge_cents
    _move(charge, PaymentMovement.Kind.CHARGE, charge.row["stripe_charge_id"], amount, due)
    fate = rng.random()
    if fate < 0.01:
        later = due + min(REFUNDED_WITHIN, now - due) * rng.random()
        part = amount if fate < 0.006 else amount // 3
        _move(charge, PaymentMovement.Kind.REFUND, stripe_id(rng, "re"), -part, later)
    elif fate < 0.012:
        later = due + min(DISPUTED_WITHIN, now - due) * rng.random()
        _move(charge, PaymentMovement.Kind.DISPUTE, stripe_id(rng, "du"), -amount, later)
    yield charge


def _next_try(subscription: Paid, due: datetime, now: datetime) -> dict[str, Any]:
    """What an invoice that is still owed says of the tries; Stripe's go on for three weeks."""
    goes_on = subscription.status == Subscription.Status.PAST_DUE and now - due < timedelta(weeks=3)
    return {"attempt_count": 1, "next_attempt_at": whole_seconds(now + timedelta(days=2)) if goes_on else None}


def _move(charge: Charge, kind: str, stripe_object_id: str, cents: int, at: datetime) -> None:
    charge.movements.append(
        {
            "payment_id": charge.row["id"],
            "kind": kind,
            "stripe_object_id": stripe_object_id,
            "amount_cents": cents,
            "currency": "usd",
            "occurred_at": whole_seconds(at),
        }
    )


def _row(
    rng: random.Random, subscription: Paid, invoice: str, at: datetime, *, failure: tuple[str, str, str] | None = None
) -> dict[str, Any]:
    return {
        "id": new_uuid(rng),
        "user_id": subscription.customer.id,
        "stripe_invoice_id": invoice,
        "stripe_payment_intent_id": stripe_id(rng, "pi"),
        "stripe_charge_id": stripe_id(rng, "ch"),
        "amount_cents": subscription.charge_cents,
        "status": Payment.Status.FAILED if failure else Payment.Status.PENDING,
        "failure_code": failure[0] if failure else None,
        "decline_code": failure[1] if failure else None,
        "failure_message": failure[2] if failure else None,
        "invoice_url": f"https://pay.stripe.com/invoice/{invoice}/",
        "attempt_count": 0,
        "next_attempt_at": None,
        "created_at": whole_seconds(at),
    }
