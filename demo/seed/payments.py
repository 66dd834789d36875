"""The charges of the synthetic subscriptions, failures and refunds among them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.models import Payment, PaymentMovement, Subscription
from demo.seed.identities import new_uuid, stripe_id, whole_seconds
from demo.seed.subscriptions import Paid

FAILURES = (
    "Your card was declined.",
    "Your card has insufficient funds.",
    "Your card has expired.",
    "Your bank requires authentication for this payment.",
)
IN_ARREARS = {Subscription.Status.PAST_DUE, Subscription.Status.UNPAID}


# How long after a payment its money went out again, in days.
REFUNDED_WITHIN, DISPUTED_WITHIN = 14, 45


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
        yield Charge(_row(rng, subscription, invoice, due, failure_message=rng.choice(FAILURES)), [])
        due = min(due + timedelta(days=1), now)
    if fails:
        return
    charge = Charge(_row(rng, subscription, invoice, due), [])
    amount = subscription.charge_cents
    _move(charge, PaymentMovement.Kind.CHARGE, charge.row["stripe_charge_id"], amount, due)
    fate = rng.random()
    if fate < 0.01:
        later = min(due + timedelta(days=rng.uniform(0, REFUNDED_WITHIN)), now)
        _move(
            charge, PaymentMovement.Kind.REFUND, stripe_id(rng, "re"), -(amount if fate < 0.006 else amount // 3), later
        )
    elif fate < 0.012:
        later = min(due + timedelta(days=rng.uniform(0, DISPUTED_WITHIN)), now)
        _move(charge, PaymentMovement.Kind.DISPUTE, stripe_id(rng, "du"), -amount, later)
    yield charge


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
    rng: random.Random, subscription: Paid, invoice: str, at: datetime, *, failure_message: str | None = None
) -> dict[str, Any]:
    return {
        "id": new_uuid(rng),
        "user_id": subscription.customer.id,
        "stripe_invoice_id": invoice,
        "stripe_payment_intent_id": stripe_id(rng, "pi"),
        "stripe_charge_id": stripe_id(rng, "ch"),
        "amount_cents": subscription.charge_cents,
        "status": Payment.Status.FAILED if failure_message else Payment.Status.PENDING,
        "failure_code": "card_declined" if failure_message else None,
        "failure_message": failure_message,
        "created_at": whole_seconds(at),
    }
