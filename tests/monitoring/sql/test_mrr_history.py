"""The ledger of recurring revenue worked out anew: what the events wrote, and what Stripe's dates say."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing.models import Subscription, User
from monitoring.models import DailyMrr, MrrMovement
from tests.support import factories
from tests.support.lives import BEGINNING, CENTS, Life, steps, undone
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db


def ledger(user: User) -> list[tuple[Any, ...]]:
    """A customer's movements, oldest first. What ended may have ended by news of another subscription."""
    return [
        (
            row.occurred_at,
            row.kind,
            row.currency,
            row.before_cents,
            row.after_cents,
            row.tier_before,
            row.tier_after,
            row.subscription_id if row.after_cents else None,
        )
        for row in MrrMovement.objects.filter(user=user).order_by("id")
    ]


@settings(max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(st.lists(st.lists(steps, min_size=1, max_size=8), min_size=1, max_size=3))
def test_rebuilt_ledger_is_the_one_that_events_wrote(histories: list[list[Any]]) -> None:
    with undone():
        lives = [
            Life(factories.customer(stripe_customer_id=f"cus_{number}"), BEGINNING) for number in range(len(histories))
        ]
        for life, history in zip(lives, histories, strict=True):
            for step in history:
                life.step(*step)
        recorded = [ledger(life.user) for life in lives]
        assert [run("SELECT rebuild_mrr_history_of(%s)", life.user.pk) for life in lives] == [[(False,)]] * len(lives)
        run("SELECT rebuild_mrr_history(true)")
        assert [ledger(life.user) for life in lives] == recorded
        assert not MrrMovement.objects.exclude(origin="history").exists()


def kinds(user: User) -> list[tuple[Any, ...]]:
    """Day of the month, kind and amount of each movement, oldest first."""
    rows = MrrMovement.objects.filter(user=user).order_by("id")
    return [(row.occurred_at.day, row.kind, row.amount_cents) for row in rows]


def on(day: int) -> datetime:
    return BEGINNING + timedelta(days=day - 1)


def subscribed(user: User, tier: str, since: int, until: int | None = None, **values: Any) -> Subscription:
    """A subscription that was first written here today, with Stripe's dates of a month that is long over."""
    ended = {"status": "canceled", "canceled_at": on(until)} if until else {}
    defaults = {"price_cents": CENTS[tier], "created_at": on(since), "current_period_start": on(since)}
    return factories.subscription(user, tier=tier, **defaults | ended | values)


class TestByDatesAlone:
    def test_dearer_of_two_that_overlap_ends_first(self) -> None:
        user = factories.customer()
        subscribed(user, "professional", 2, 5)
        subscribed(user, "starter", 1)
        run("SELECT rebuild_mrr_history(true)")
        assert kinds(user) == [(1, "new", 2900), (2, "expansion", 7000), (5, "contraction", -7000)]
        assert not MrrMovement.objects.exclude(origin="history").exists()

    def test_second_one_that_counts_nowhere_changes_nothing(self) -> None:
        user = factories.customer()
        subscribed(user, "professional", 1)
        subscribed(user, "starter", 3, is_duplicate=True)
        subscribed(user, "starter", 2, 6)
        run("SELECT rebuild_mrr_history(true)")
        assert kinds(user) == [(1, "new", 9900)]

    def test_paid_after_the_trial_until_it_was_unpaid(self) -> None:
        paid, canceled, unpaid, paused, incomplete = (factories.customer() for _ in range(5))
        subscribed(paid, "starter", 1, trial_end=on(8))
        subscribed(canceled, "starter", 1, 6, trial_end=on(8))
        subscribed(unpaid, "starter", 1, status="unpaid", current_period_start=on(20))
        subscribed(paused, "starter", 1, status="paused", trial_end=on(8), current_period_start=on(8))
        subscribed(incomplete, "starter", 1, status="incomplete_expired", current_period_start=on(8))
        run("SELECT rebuild_mrr_history(true)")
        assert kinds(paid) == [(8, "new", 2900)]
        assert kinds(unpaid) == [(1, "new", 2900), (20, "churn", -2900)]
        assert kinds(canceled) == kinds(paused) == kinds(incomplete) == []

    def test_return_in_another_currency_begins_another_book(self) -> None:
        user = factories.customer()
        subscribed(user, "starter", 1, 9)
        subscribed(user, "starter", 9, 12, currency="eur")
        subscribed(user, "starter", 15)
        run("SELECT rebuild_mrr_history(true)")
        assert kinds(user) == [
            (1, "new", 2900),
            (9, "churn", -2900),
            (9, "reactivation", 2900),
            (12, "churn", -2900),
            (15, "reactivation", 2900),
        ]


class TestOneCustomersPast:
    def test_days_since_it_began_are_written_anew_by_the_next_snapshot(self) -> None:
        ada, bob = factories.customer(), factories.customer()
        User.objects.update(created_at=on(1))
        subscribed(ada, "starter", 1)
        run("SELECT rebuild_mrr_history(true)")
        subscribed(bob, "starter", 10)  # booked today
        assert scalar("SELECT rebuild_mrr_history_of(%s)", bob.pk)
        assert not scalar("SELECT rebuild_mrr_history_of(%s)", bob.pk)
        assert kinds(bob) == [(10, "new", 2900)]
        assert DailyMrr.objects.latest("day").day == on(9).date()
        run("SELECT take_daily_snapshot()")
        by_day = dict(DailyMrr.objects.values_list("day", "end_cents"))
        assert [by_day[on(day).date()] for day in (9, 10, 11)] == [2900, 5800, 5800]
        assert DailyMrr.objects.latest("day").end_cents == 5800

    def test_ledger_that_knows_more_than_the_audit_log_stays(self) -> None:
        user = factories.customer()
        subscribed(user, "starter", 1)
        run("SET LOCAL session_replication_role = replica")
        run("DELETE FROM audit_log WHERE table_name = 'subscriptions'")
        run("SET LOCAL session_replication_role = origin")
        recorded = ledger(user)
        assert not scalar("SELECT rebuild_mrr_history_of(%s)", user.pk)
        assert ledger(user) == recorded
