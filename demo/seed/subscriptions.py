"""The subscriptions that customers have and had."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from billing.models import Subscription, Tier
from demo.seed.customers import Customer, Trouble
from demo.seed.identities import stripe_id, whole_seconds
from demo.stripe import recordings

YEARLY = 0.18
# Paying customers of two months or more who had another subscription before today's.
MOVED = 0.3
BEFORE: dict[str, str] = {
    Tier.STARTER: Tier.STARTER,
    Tier.PROFESSIONAL: Tier.STARTER,
    Tier.ENTERPRISE: Tier.PROFESSIONAL,
}
BIGGER: dict[str, str] = {
    Tier.STARTER: Tier.PROFESSIONAL,
    Tier.PROFESSIONAL: Tier.ENTERPRISE,
    Tier.ENTERPRISE: Tier.ENTERPRISE,
}
MONTH = timedelta(days=365.25 / 12)
YEAR = timedelta(days=365.25)


@dataclass(slots=True)
class Paid:
    """One subscription at Stripe."""

    customer: Customer
    id: str
    tier: str
    price_id: str
    charge_cents: int
    interval: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    is_duplicate: bool
    is_replaced: bool = False

    @property
    def monthly_cents(self) -> int:
        """What it comes to in a month, in cents: of a yearly charge the twelfth, rounded."""
        return round(self.charge_cents / 12) if self.interval == Subscription.Interval.YEAR else self.charge_cents

    @property
    def period(self) -> timedelta:
        """How long one charge pays for; months and years have their average length."""
        return YEAR if self.interval == Subscription.Interval.YEAR else MONTH


@cache
def catalogue() -> dict[tuple[str, str], dict[str, Any]]:
    """The recorded catalogue's prices by tier and interval."""
    prices = json.loads((recordings.FOLDER / "catalogue.json").read_text())["prices"]
    return {(price["metadata"]["tier"], price["recurring"]["interval"]): price for price in prices}


def generate(rng: random.Random, customers: list[Customer], now: datetime) -> list[Paid]:
    """The paid subscription of each customer who pays or paid, and the second ones of those in trouble."""
    subscriptions = []
    statuses = _statuses(rng)
    for customer in customers:
        if customer.paid_since is None:
            continue
        tier = customer.tier if customer.is_paying else Tier.STARTER
        since = customer.paid_since
        if customer.is_paying and customer.trouble is None and now - since > 2 * MONTH and rng.random() < MOVED:
            earlier, since = _earlier(rng, customer, tier, now)
            subscriptions.append(earlier)
        subscriptions.append(_paid(rng, customer, since, tier, now, status=_status(customer, statuses)))
        if customer.trouble is Trouble.DUPLICATE:
            subscriptions.append(_paid(rng, customer, customer.paid_since, Tier.STARTER, now, is_duplicate=True))
    return subscriptions


def _status(customer: Customer, statuses: Iterator[str]) -> str:
    """How the customer's present or last subscription stands."""
    if customer.paid_until:
        return Subscription.Status.CANCELED
    # Of two the better status would count, whatever the plan; of a stale one the news never arrived.
    return next(statuses) if customer.trouble is None else Subscription.Status.ACTIVE


def _statuses(rng: random.Random) -> Iterator[str]:
    """Of one subscription after the other: each that is rare once, so that a small shop has it too."""
    status = Subscription.Status
    rare = {status.PAST_DUE: 3, status.TRIALING: 4, status.UNPAID: 1.2, status.PAUSED: 0.8}
    yield from rare
    while True:
        yield rng.choices((status.ACTIVE, *rare), (91, *rare.values()))[0]


def _paid(
    rng: random.Random,
    customer: Customer,
    since: datetime,
    tier: str,
    now: datetime,
    *,
    status: str = Subscription.Status.ACTIVE,
    is_duplicate: bool = False,
) -> Paid:
    interval = Subscription.Interval.MONTH
    if (tier, "year") in catalogue() and rng.random() < YEARLY:
        interval = Subscription.Interval.YEAR
    price = catalogue()[tier, interval]
    period = YEAR if interval == Subscription.Interval.YEAR else MONTH
    upto = customer.paid_until or now
    period_start = since + ((upto - since) // period) * period
    period_end = period_start + period
    if customer.trouble is Trouble.STALE:
        period_end = now - timedelta(days=rng.choice((1.5, 2.5, 4, 6, 9, 13, 20)), hours=rng.random() * 10)
        period_start = period_end - period
    started_at = min(since, period_start)
    return Paid(
        customer=customer,
        id=stripe_id(rng, "sub"),
        tier=tier,
        price_id=price["id"],
        charge_cents=price["unit_amount"],
        interval=interval,
        status=status,
        started_at=started_at,
        ended_at=customer.paid_until,
        period_start=period_start,
        period_end=max(period_end, customer.paid_until or period_end),
        cancel_at_period_end=status == Subscription.Status.ACTIVE and rng.random() < 0.03,
        is_duplicate=is_duplicate,
    )


def _earlier(rng: random.Random, customer: Customer, tier: str, now: datetime) -> tuple[Paid, datetime]:
    """What a customer had before: a smaller plan, a bigger one, or the same before a pause. And when today's began."""
    since = customer.paid_since or customer.created_at
    other = rng.choices((BEFORE[tier], BIGGER[tier], tier), (70, 10, 20))[0]
    changed_at = since + (now - since) * rng.uniform(0.15, 0.95)
    ended_at = changed_at if other != tier else since + (changed_at - since) * rng.uniform(0.4, 0.9)
    earlier = _paid(rng, customer, since, other, now)
    earlier.status = Subscription.Status.CANCELED
    earlier.started_at = earlier.period_start = since
    earlier.ended_at = earlier.period_end = ended_at
    earlier.cancel_at_period_end = False
    earlier.is_replaced = True
    return earlier, changed_at


def rows(subscriptions: list[Paid]) -> Iterator[dict[str, Any]]:
    """What is written: the paid ones, and a free one after each that ended."""
    for each in subscriptions:
        yield {
            "user_id": each.customer.id,
            "tier": each.tier,
            "status": each.status,
            "stripe_subscription_id": each.id,
            "stripe_price_id": each.price_id,
            "price_cents": each.monthly_cents,
            "interval": each.interval,
            "current_period_start": whole_seconds(each.period_start),
            "current_period_end": whole_seconds(each.period_end),
            "cancel_at_period_end": each.cancel_at_period_end,
            "cancel_at": whole_seconds(each.period_end) if each.cancel_at_period_end else None,
            "canceled_at": whole_seconds(each.ended_at) if each.ended_at else None,
            "trial_end": whole_seconds(each.period_end) if each.status == Subscription.Status.TRIALING else None,
            "is_duplicate": each.is_duplicate,
            "created_at": whole_seconds(each.started_at),
        }
        if each.ended_at and not each.is_replaced:
            yield free_row(each.customer, each.ended_at)


def free_row(customer: Customer, since: datetime) -> dict[str, Any]:
    """The free subscription that a customer falls back to at `since`, with the same columns as `rows()` gives."""
    return {
        "user_id": customer.id,
        "tier": Tier.FREE,
        "status": Subscription.Status.ACTIVE,
        "stripe_subscription_id": None,
        "stripe_price_id": None,
        "price_cents": 0,
        "interval": Subscription.Interval.MONTH,
        "current_period_start": since,
        "current_period_end": None,
        "cancel_at_period_end": False,
        "cancel_at": None,
        "canceled_at": None,
        "trial_end": None,
        "is_duplicate": False,
        "created_at": since,
    }
