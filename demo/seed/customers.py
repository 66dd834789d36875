"""Who the customers are: since when, on which tier, how busy, and which of them are in trouble."""

import math
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from billing.models import ApiKey, Tier, User
from demo.seed import identities

OLDEST_DAYS = 540
# Share of customers, and the typical number of requests relative to a free one.
TIERS = {
    Tier.FREE: (0.72, 1.0),
    Tier.STARTER: (0.18, 6.0),
    Tier.PROFESSIONAL: (0.085, 25.0),
    Tier.ENTERPRISE: (0.015, 120.0),
}
CHURNED = 0.08
# Sigma of the lognormal activity within a tier: a few customers make most of the requests.
ACTIVITY_SPREAD = 1.2


class Trouble(Enum):
    """What the monitoring is there to find; the value's order is the order of assignment."""

    ERROR_BURST = auto()
    SOME_ERRORS = auto()
    NEAR_LIMIT = auto()
    STALE = auto()
    ORPHANED = auto()
    WITHOUT_KEY = auto()
    DUPLICATE = auto()


# How many of each trouble among 3,000 customers; fewer customers have fewer, but one of each from 40 on.
TROUBLES = {
    Trouble.ERROR_BURST: 1,
    Trouble.SOME_ERRORS: 3,
    Trouble.NEAR_LIMIT: 26,
    Trouble.STALE: 9,
    Trouble.ORPHANED: 14,
    Trouble.WITHOUT_KEY: 17,
    Trouble.DUPLICATE: 2,
}
PAYING_TROUBLES = {Trouble.ERROR_BURST, Trouble.SOME_ERRORS, Trouble.STALE, Trouble.WITHOUT_KEY, Trouble.DUPLICATE}


@dataclass(slots=True)
class Key:
    """One API key of a customer, before it is written."""

    id: UUID
    environment: ApiKey.Environment
    created_at: datetime
    revoked_at: datetime | None


@dataclass(slots=True)
class Customer:
    """One customer, before anything is written."""

    id: UUID
    name: str
    email: str
    created_at: datetime
    tier: str
    status: str
    activity: float
    ip: str
    cognito_user_id: str | None
    stripe_customer_id: str | None = None
    paid_since: datetime | None = None
    paid_until: datetime | None = None
    keys: list[Key] = field(default_factory=list)
    trouble: Trouble | None = None

    @property
    def is_paying(self) -> bool:
        """Whether the customer pays today: one who has churned has a `paid_until`."""
        return self.paid_since is not None and self.paid_until is None


def generate(rng: random.Random, count: int, *, first_number: int, now: datetime) -> list[Customer]:
    """`count` customers with their keys; their addresses are numbered from `first_number`."""
    customers = [_customer(rng, number, now) for number in range(first_number, first_number + count)]
    if count >= 10 and not any(customer.tier == Tier.ENTERPRISE for customer in customers):
        _subscribe(rng, customers[0], Tier.ENTERPRISE, now)
    _assign_troubles(rng, customers)
    for customer in customers:
        if customer.trouble is not Trouble.WITHOUT_KEY:
            customer.keys = _keys(rng, customer, now)
    return customers


def _customer(rng: random.Random, number: int, now: datetime) -> Customer:
    # A growing business: most customers are recent.
    age_days = OLDEST_DAYS * rng.random() ** 1.7
    tier = rng.choices(list(TIERS), [share for share, _ in TIERS.values()])[0]
    name = identities.full_name(rng)
    status = rng.choices(list(User.Status), [0.965, 0.02, 0.015])[0] if tier == Tier.FREE else User.Status.ACTIVE
    customer = Customer(
        id=identities.new_uuid(rng),
        name=name,
        email=identities.address(rng, name, number, at_work=tier != Tier.FREE or rng.random() < 0.3),
        created_at=now - timedelta(days=age_days, seconds=rng.random() * 86400),
        tier=tier,
        status=status,
        activity=TIERS[tier][1] * math.exp(rng.gauss(0, ACTIVITY_SPREAD)),
        ip=identities.ip_address(rng),
        cognito_user_id=str(identities.new_uuid(rng)) if rng.random() < 0.97 else None,
    )
    if tier != Tier.FREE:
        _subscribe(rng, customer, tier, now)
    elif rng.random() < CHURNED and now - customer.created_at > timedelta(days=60):
        since = _subscribe(rng, customer, Tier.STARTER, now)
        customer.tier = Tier.FREE
        customer.paid_until = since + (now - since) * rng.uniform(0.3, 0.95)
    return customer


def _subscribe(rng: random.Random, customer: Customer, tier: Tier, now: datetime) -> datetime:
    customer.tier = tier
    customer.status = User.Status.ACTIVE
    customer.stripe_customer_id = identities.stripe_id(rng, "cus", 14)
    # Many pay at once, others after weeks of trying the free plan.
    since = customer.created_at + (now - customer.created_at) * rng.random() ** 3 * 0.8
    customer.paid_since = since
    return since


def _assign_troubles(rng: random.Random, customers: list[Customer]) -> None:
    steady = [each for each in customers if each.status == User.Status.ACTIVE and each.paid_until is None]
    paying = [each for each in steady if each.is_paying]
    free = [each for each in steady if not each.is_paying]
    rng.shuffle(paying)
    rng.shuffle(free)
    for trouble, usual in TROUBLES.items():
        count = math.ceil(usual * min(1.0, len(customers) / 3000)) if len(customers) >= 40 else 0
        for _ in range(count):
            candidates = paying if trouble in PAYING_TROUBLES else free
            if not candidates:
                break
            customer = candidates.pop()
            customer.trouble = trouble
            if trouble is Trouble.ORPHANED:
                customer.stripe_customer_id = identities.stripe_id(rng, "cus", 14)


def _keys(rng: random.Random, customer: Customer, now: datetime) -> list[Key]:
    busy = customer.is_paying or customer.trouble is not None
    count = rng.choices((1, 2, 3, 4), (50, 30, 15, 5))[0] if busy else rng.choices((0, 1, 2), (35, 55, 10))[0]
    environments = [ApiKey.Environment.PRODUCTION, ApiKey.Environment.DEVELOPMENT, ApiKey.Environment.STAGING]
    keys = []
    for index in range(count):
        created = customer.created_at + (now - customer.created_at) * rng.random() * (0.05 if index == 0 else 0.7)
        revoked = created + (now - created) * rng.random() if index and rng.random() < 0.2 else None
        keys.append(Key(identities.new_uuid(rng), environments[min(index, 2)], created, revoked))
    return keys
