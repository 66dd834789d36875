"""The ledger of recurring revenue and the days made from it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from billing.models import Subscription, User
from glyphforge.audit.models import AuditEntry
from monitoring.models import DailyFigures, DailyMrr, MrrMovement
from tests.support import factories
from tests.support.sql import SQL, run

pytestmark = pytest.mark.one_day


def noon() -> datetime:
    """Of today: a suite may run past midnight."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def past(user: User, tier: str, cents: int, started: int, ended: int | None = None, **values: Any) -> Subscription:
    """A paid subscription that began and ended so many days ago."""
    values.setdefault("status", "active" if ended is None else "canceled")
    return factories.subscription(
        user,
        tier=tier,
        price_cents=cents,
        created_at=noon() - timedelta(days=started),
        canceled_at=None if ended is None else noon() - timedelta(days=ended),
        **values,
    )


def movements(user: User) -> list[tuple[str, int]]:
    return list(MrrMovement.objects.filter(user=user).order_by("id").values_list("kind", "amount_cents"))


@pytest.fixture
def committed(transactional_db: None) -> Iterator[User]:
    """A customer whose changes are committed one by one: what one transaction does is one movement."""
    return factories.customer()


def test_life_of_a_customer_is_booked(committed: User) -> None:
    user = committed
    with transaction.atomic():
        first = factories.subscription(user, status="trialing")
    assert movements(user) == []
    Subscription.objects.filter(id=first.id).update(status="active")
    Subscription.objects.filter(id=first.id).update(tier="professional", price_cents=9900)
    Subscription.objects.filter(id=first.id).update(status="past_due")
    Subscription.objects.filter(id=first.id).update(price_cents=7900)
    Subscription.objects.filter(id=first.id).update(status="canceled", canceled_at=noon())
    with transaction.atomic():
        factories.subscription(user)
    assert movements(user) == [
        ("new", 2900),
        ("expansion", 7000),
        ("contraction", -2000),
        ("churn", -7900),
        ("reactivation", 2900),
    ]
    booked = MrrMovement.objects.filter(user=user).earliest("id")
    entry = AuditEntry.objects.get(id=booked.audit_id)
    assert booked.subscription_id == first.id
    assert (entry.row_id, entry.new_values) == (str(first.id), {"status": "active"})

    # A plan replaced by another in one transaction is no churn.
    with transaction.atomic():
        enterprise = factories.subscription(user, tier="enterprise", price_cents=50_000)
    assert movements(user)[5:] == [("expansion", 47_100)]

    # Another currency is another book.
    Subscription.objects.filter(id=enterprise.id).update(currency="eur")
    assert movements(user)[6:] == [("churn", -50_000), ("reactivation", 50_000)]

    # What the triggers did not see is found.
    run("ALTER TABLE subscriptions DISABLE TRIGGER book_mrr_when_changed")
    Subscription.objects.filter(id=enterprise.id).update(price_cents=60_000)
    assert len(movements(user)) == 8
    assert run("SELECT reconcile_mrr(), reconcile_mrr()") == [(1, 0)]
    assert movements(user)[8:] == [("expansion", 10_000)]
    run("SELECT take_daily_snapshot()")
    assert_days_add_up()

    # Nobody rewrites the books.
    for statement in ("UPDATE mrr_movements SET audit_id = 1", "DELETE FROM mrr_movements", "TRUNCATE mrr_movements"):
        with pytest.raises(DatabaseError, match="mrr_movements: rows are append-only"):
            run(statement)


def assert_days_add_up() -> None:
    """Start plus movements is the end, every day continues the one before, and today ends with what is sold."""
    assert run(
        "SELECT count(*) FROM daily_mrr AS d JOIN daily_mrr AS n USING (currency, tier)"
        " WHERE n.day = d.day + 1 AND n.start_cents <> d.end_cents"
    ) == [(0,)]
    assert (
        run("SELECT coalesce(sum(transfer_cents), 0) FROM daily_mrr GROUP BY day HAVING sum(transfer_cents) <> 0") == []
    )
    ended = run(
        "SELECT currency, tier, end_cents, customers FROM daily_mrr WHERE day = %s AND end_cents > 0", noon().date()
    )
    sold = run("SELECT currency, tier, sum(mrr_cents), count(*) FROM paying_subscriptions GROUP BY currency, tier")
    assert sorted(ended) == sorted(sold)
    assert run(
        "SELECT count(*) FROM daily_figures AS f JOIN ("
        " SELECT day, sum(customers) AS customers FROM daily_mrr GROUP BY day) AS d USING (day)"
        " WHERE f.paying_customers <> d.customers"
    ) == [(0,)]


@pytest.mark.django_db
class TestRebuiltHistory:
    def test_dates_of_subscriptions_become_movements(self) -> None:
        DailyFigures.objects.all().delete()  # of the day on which the template was migrated
        ada, bob, eve, zoe = (factories.customer() for _ in range(4))
        User.objects.update(created_at=noon() - timedelta(days=60))
        past(ada, "starter", 2900, 50, 30)
        upgrade = past(ada, "professional", 9900, 30)
        past(bob, "starter", 2900, 40, 20)
        past(bob, "starter", 2900, 10)
        past(eve, "professional", 9900, 35, 15)
        past(zoe, "starter", 2900, 20, status="trialing", trial_end=noon() + timedelta(days=3))
        assert run("SELECT rebuild_mrr_history(true)") == [(7,)]
        assert movements(ada) == [("new", 2900), ("expansion", 7000)]
        assert movements(bob) == [("new", 2900), ("churn", -2900), ("reactivation", 2900)]
        assert movements(eve) == [("new", 9900), ("churn", -9900)]
        assert movements(zoe) == []
        moved = MrrMovement.objects.get(user=ada, kind="expansion")
        assert (moved.subscription_id, moved.occurred_at, moved.origin) == (upgrade.id, upgrade.created_at, "history")

        assert_days_add_up()
        assert DailyFigures.objects.count() == 61
        day = DailyMrr.objects.filter(day=(noon() - timedelta(days=30)).date())
        assert {d.tier: (d.start_cents, d.expansion_cents, d.transfer_cents, d.end_cents) for d in day} == {
            "starter": (5800, 0, -2900, 2900),
            "professional": (9900, 7000, 2900, 19_800),
        }
        last = DailyFigures.objects.latest("day")
        assert (last.total_users, last.paying_customers, last.new_users) == (4, 2, 0)

    def test_recorded_changes_are_not_lost_by_accident(self) -> None:
        past(factories.customer(), "starter", 2900, 3)
        with pytest.raises(DatabaseError, match="holds recorded changes"), transaction.atomic():
            run("SELECT rebuild_mrr_history()")
        assert run("SELECT rebuild_mrr_history(true), rebuild_mrr_history()") == [(1, 1)]

    def test_nothing_to_rebuild(self) -> None:
        assert run("SELECT rebuild_mrr_history()") == [(0,)]


@pytest.mark.django_db
class TestSnapshot:
    def test_missed_days_are_caught_up_and_a_second_run_changes_nothing(self) -> None:
        past(factories.customer(), "starter", 2900, 9)
        User.objects.update(created_at=noon() - timedelta(days=10))
        run("SELECT rebuild_mrr_history(true)")
        before = list(DailyMrr.objects.order_by("day").values_list()), DailyFigures.objects.count()
        run("DELETE FROM daily_figures WHERE day > %s", (noon() - timedelta(days=4)).date())
        run("DELETE FROM daily_mrr WHERE day > %s", (noon() - timedelta(days=6)).date())
        assert run("SELECT take_daily_snapshot()") == [(5,)]
        assert run("SELECT take_daily_snapshot()") == [(2,)]
        assert (list(DailyMrr.objects.order_by("day").values_list()), DailyFigures.objects.count()) == before

    def test_usage_is_counted_by_day_in_utc_and_survives_its_partition(self) -> None:
        midnight = (noon() - timedelta(days=1)).replace(hour=0)
        factories.requests(
            factories.customer(),
            4,
            status_code=SQL("200 + 300 * (n / 4)"),
            response_time_ms=10,
            created_at=SQL(f"'{midnight}'::timestamptz + (n - 1) * interval '1 second'"),
        )
        run("SET LOCAL TIME ZONE 'Pacific/Auckland'")
        run("SELECT take_daily_snapshot()")
        expected = [(4, 1, 1, 40)]
        yesterday = (noon() - timedelta(days=1)).date()
        counted = (
            "SELECT requests, failed_requests, active_users, total_response_time_ms FROM daily_figures WHERE day = %s"
        )
        assert run(counted, yesterday) == expected
        run("TRUNCATE api_usage")  # as when its months are dropped
        run("SELECT take_daily_snapshot()")
        assert run(counted, yesterday) == expected

    def test_no_customer_and_no_usage_is_a_day_of_zeros(self) -> None:
        DailyFigures.objects.all().delete()  # of the day on which the template was migrated
        run("SELECT take_daily_snapshot()")
        assert list(DailyFigures.objects.values_list("requests", "paying_customers")) == [(0, 0), (0, 0)]

    @pytest.mark.parametrize("function", ["refresh_daily_mrr", "refresh_daily_figures"])
    @pytest.mark.parametrize("days_ahead", [None, 1])
    def test_day_to_come_is_refused(self, function: str, days_ahead: int | None) -> None:
        since = None if days_ahead is None else noon().date() + timedelta(days=days_ahead)
        with pytest.raises(DatabaseError, match=f"{function}: since must be a day up to today"):
            run(f"SELECT {function}(%s)", since)
