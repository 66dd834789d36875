"""Every figure of money is the sum of what happened at Stripe, to the cent, for any month and currency.

Whatever the order in which events come, with copies, and however late.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.admin import customer_page
from billing.models import Payment, User
from billing.stripe.events import inbox, processing
from billing.stripe.resync import resync
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.database.budget import Budget
from glyphforge.money import money
from glyphforge.rows import Json
from monitoring import metrics
from monitoring.dashboard import figures
from monitoring.reports.day import read_day
from tests.support.event_stream import EventStream
from tests.support.money_story import DAY, MISMATCH, Fact, Given, Paid, Story
from tests.support.sql import query, scalar

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]

# What the catalogue's prices cost a month; the yearly ones are a twelfth, rounded half up.
MONTHLY_CENTS = {
    "starter_monthly": 2900,
    "starter_yearly": 2417,
    "professional_monthly": 9900,
    "professional_yearly": 8250,
    "enterprise_monthly": 150000,
}
IN, OUT, TAKEN = ("charge",), ("refund", "refund_failed"), ("dispute", "dispute_reversed")

days = st.integers(0, 20)
parts = st.integers(1, 50)
gone = st.builds(Given, parts, days, st.sampled_from(["kept", "failed"]), days)
taken = st.builds(Given, parts, days, st.sampled_from(["open", "lost", "won", "inquiry"]), days)
charges = st.builds(
    Paid,
    st.integers(200, 9900),
    st.sampled_from(["usd", "usd", "eur"]),
    st.integers(35, 95).map(lambda day: int(time.time()) // DAY * DAY - day * DAY + 7200),
    st.sampled_from(["card", "undated", "debit", "capture"]),
    st.integers(1, 9),
    st.lists(gone, max_size=2).map(tuple),
    st.lists(taken, max_size=2).map(tuple),
)


@contextmanager
def undone() -> Iterator[None]:
    """Forget what one example wrote."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_figures_equal_a_reckoning_by_hand_in_any_order(stream: EventStream) -> None:
    known = [Fact("charge", int(stream.payment.paid_at.timestamp()), stream.payment.amount_cents, "usd")]
    at_first = dict(stream.world.objects)

    @settings(max_examples=5, deadline=None, derandomize=True, database=None)
    @given(st.lists(charges, min_size=2, max_size=3), st.data())
    def however_told(paid: list[Paid], data: st.DataObject) -> None:
        stream.world.objects.clear()
        stream.world.objects.update(at_first)
        story = Story(stream.world, stream.charge)
        for number, each in enumerate(paid):
            story.add(number, each)
        late = data.draw(st.lists(st.integers(0, 9), min_size=len(story.steps), max_size=len(story.steps)))
        copies = data.draw(st.lists(st.integers(0, len(story.steps) - 1), max_size=3))
        with undone():
            deliver_late(story, late, copies)
            assert_figures(known + story.facts, stream.user)

    however_told()


def deliver_late(story: Story, late: list[int], copies: list[int]) -> None:
    """Process each event so many steps after it happened, and some of them again in the end."""
    waiting: list[tuple[int, int, Json]] = []
    events = []
    for position, event in enumerate(story.events()):
        events.append(event)
        waiting.append((position + late[position], position, event))
        for due in sorted(item for item in waiting if item[0] <= position):
            waiting.remove(due)
            process(due[2])
    for _, _, event in sorted(waiting, key=lambda item: item[:2]):
        process(event)
    for position in copies:
        process(events[position])


def process(event: Json) -> None:
    inbox.store(event)
    inbox.reset([event["id"]])  # so that a copy is really processed again
    assert processing.process(event["id"]) == "processed"


def assert_figures(facts: list[Fact], user: User) -> None:
    """Movements, totals, report, dashboard, Prometheus and the customer page say what the facts add up to."""
    assert scalar(MISMATCH) == 0
    booked = query(
        "SELECT kind, currency, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,"
        " sum(amount_cents)::int AS cents FROM payment_movements GROUP BY 1, 2, 3 HAVING sum(amount_cents) <> 0"
    )
    assert {(row["kind"], row["currency"], row["day"]): row["cents"] for row in booked} == by(
        facts, lambda fact: (fact.kind, fact.currency, f"{day_of(fact):%Y-%m-%d}")
    )
    for currency in ("usd", "eur"):
        for day in {day_of(fact) for fact in facts}:
            mine = [fact for fact in facts if fact.currency == currency and day_of(fact) == day]
            read = read_day(day, currency, [], [], Budget())
            assert (read.collected, read.refunded, read.disputed) == (
                total(mine, IN), -total(mine, OUT), -total(mine, TAKEN)
            )  # fmt: skip
    month = f"{timezone.now():%Y-%m}"
    last = f"{timezone.now().replace(day=1) - timedelta(days=1):%Y-%m}"
    shown = figures.revenue()
    this_month = [fact for fact in facts if fact.month == month and fact.currency == "usd"]
    last_month = [fact for fact in facts if fact.month == last and fact.currency == "usd"]
    assert shown.currency == "usd"
    assert shown.revenue_this_month_cents == total(this_month, IN)
    assert shown.revenue_last_month_cents == total(last_month, IN)
    assert shown.refunded_this_month_cents == -total(this_month, OUT)
    assert shown.disputed_this_month_cents == -total(this_month, TAKEN)
    (gauge,) = metrics.PARTS["payments"]()
    exported = {(sample.labels["kind"], sample.labels["currency"]): sample.value for sample in gauge.samples}
    assert {key: cents for key, cents in exported.items() if cents} == by(
        [fact for fact in facts if fact.month == month], lambda fact: (fact.kind, fact.currency)
    )
    sums = {currency: total([fact for fact in facts if fact.currency == currency]) for currency in ("usd", "eur")}
    paid = next(value for name, value, _ in customer_page._facts(user, None) if name == "Paid so far")
    assert sorted(paid.split(" + ")) == sorted(money(cents, currency) for currency, cents in sums.items() if cents)


def day_of(fact: Fact) -> date:
    return datetime.fromtimestamp(fact.at, UTC).date()


def total(facts: Iterable[Fact], kinds: tuple[str, ...] = IN + OUT + TAKEN) -> int:
    return sum(fact.cents for fact in facts if fact.kind in kinds)


def by(facts: Iterable[Fact], key: Any) -> dict[Any, int]:
    sums: Counter[Any] = Counter()
    for fact in facts:
        sums[key(fact)] += fact.cents
    return {name: cents for name, cents in sums.items() if cents}


@pytest.fixture
def customers(world: StripeWorld) -> list[dict[str, Any]]:
    """Every customer of every recording, synced from Stripe's final state; their `expected` states."""
    streams = recordings.load_all()
    for stream in streams:
        world.add(stream)
    for item in list(world.objects.values()):
        if item["object"] in ("invoice", "payment_method"):  # mirrored, but no money is read from them
            world.forget(item["id"])
    expected = [customer for stream in streams for customer in stream.expected]
    for customer in expected:
        resync(customer["stripe_customer_id"])
    return expected


def recorded_facts(world: StripeWorld) -> Iterator[Fact]:
    """What the recorded objects moved: their balance transactions say so, fees left out."""
    for item in world.objects.values():
        if item["object"] == "charge" and item["status"] == "succeeded":
            settled = world.objects[item["balance_transaction"]]
            yield Fact("charge", settled["created"], item["amount"], item["currency"])
        elif item["object"] == "refund":
            yield Fact("refund", item["created"], -item["amount"], item["currency"])
        elif item["object"] == "dispute":
            for line in item["balance_transactions"]:
                kind = "dispute" if line["amount"] < 0 else "dispute_reversed"
                yield Fact(kind, line["created"], line["amount"], line["currency"])


def test_figures_equal_those_of_the_recordings(customers: list[dict[str, Any]], world: StripeWorld) -> None:
    facts = list(recorded_facts(world))
    assert {fact.kind for fact in facts} >= {"charge", "refund", "dispute"}
    booked = query(
        "SELECT kind, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month, sum(amount_cents)::int AS cents"
        " FROM payment_movements GROUP BY 1, 2"
    )
    assert {(row["kind"], row["month"]): row["cents"] for row in booked} == by(
        facts, lambda fact: (fact.kind, fact.month)
    )
    shown = figures.revenue()
    assert shown.mrr_cents == sum(_monthly(customer, world) for customer in customers)
    assert shown.paying_customers == sum(_monthly(customer, world) > 0 for customer in customers)
    assert scalar(MISMATCH) == 0
    assert Payment.objects.filter(status="failed").count() == sum(
        payment["status"] == "failed" for customer in customers for payment in customer["payments"]
    )


def _monthly(customer: dict[str, Any], world: StripeWorld) -> int:
    live = customer["live_subscription"]
    if not live or live["status"] not in ("active", "past_due"):
        return 0
    return MONTHLY_CENTS[world.objects[live["price"]]["lookup_key"]] * live["quantity"]
