"""MRR, revenue by calendar month in UTC, the breakdown and growth."""

import pytest

from tests.support import factories
from tests.support.sql import SQL, ago, one, query

pytestmark = pytest.mark.django_db

MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
LAST_MONTH = "(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC'"
METRICS = "SELECT * FROM v_revenue_metrics"


def payment(amount_cents: int, status: str = "succeeded", **values: object) -> None:
    """Undated, unless `paid_at` is given."""
    factories.payment(amount_cents=amount_cents, status=status, **{"paid_at": None} | values)


def test_empty_database_has_one_row_of_zeros() -> None:
    row = one(METRICS)
    assert row.pop("currency") == "usd"
    assert set(row.values()) == {0}


def test_mrr_counts_active_and_past_due_only() -> None:
    factories.subscription(price_cents=2900)
    factories.subscription(tier="professional", price_cents=9900, status="past_due")
    for status in ("trialing", "unpaid", "paused", "canceled", "incomplete"):
        factories.subscription(status=status)
    factories.subscription(tier="free", price_cents=500)
    factories.subscription(price_cents=0)
    factories.subscription(factories.subscription(price_cents=100).user, price_cents=9900, is_duplicate=True)
    row = one(METRICS)
    assert (row["mrr_cents"], row["arr_cents"], row["paying_customers"]) == (12_900, 154_800, 3)
    assert row["arpu_cents"] == 4300


def test_currencies_are_never_added() -> None:
    for currency in ("eur", "eur", "usd"):
        factories.subscription(price_cents=1000, currency=currency)
    row = one(METRICS)
    assert (row["currency"], row["mrr_cents"], row["customers_in_other_currencies"]) == ("eur", 2000, 1)
    breakdown = query("SELECT currency, mrr_cents FROM v_subscription_breakdown WHERE mrr_cents > 0 ORDER BY currency")
    assert breakdown == [{"currency": "eur", "mrr_cents": 2000}, {"currency": "usd", "mrr_cents": 1000}]


def test_revenue_falls_into_the_month_in_utc_whatever_the_session_says() -> None:
    query("SET LOCAL timezone = 'Pacific/Auckland'")
    payment(100, paid_at=SQL(MONTH))
    payment(20, paid_at=SQL(f"{MONTH} - interval '1 second'"))
    payment(3, paid_at=SQL(LAST_MONTH))
    payment(7000, paid_at=SQL(f"{LAST_MONTH} - interval '1 second'"))
    row = one(METRICS)
    assert (row["revenue_this_month_cents"], row["revenue_last_month_cents"]) == (100, 23)


def test_undated_payments_count_when_written_and_pending_or_failed_ones_bring_nothing() -> None:
    payment(100)
    payment(200, "pending")
    payment(300, "failed")
    row = one(METRICS)
    assert (row["revenue_this_month_cents"], row["failed_payments_this_month"]) == (100, 1)


def test_revenue_is_before_refunds_and_refunds_stand_beside_it() -> None:
    payment(1000, "refunded", refunded_cents=1000)
    payment(500, "partially_refunded", refunded_cents=200)
    payment(50, "disputed")
    row = one(METRICS)
    assert (row["revenue_this_month_cents"], row["refunded_this_month_cents"]) == (1550, 1200)


def test_breakdown_counts_every_status_and_adds_what_pays() -> None:
    factories.customer()
    factories.subscription()
    factories.subscription()
    factories.subscription(status="trialing")
    factories.subscription(is_duplicate=True, price_cents=2900)
    found = {
        (row["tier"], row["status"]): (row["subscriptions"], row["mrr_cents"])
        for row in query("SELECT * FROM v_subscription_breakdown")
    }
    # The free rows of those who began to pay are canceled; the duplicate's owner and the free user keep theirs.
    assert found == {
        ("free", "active"): (2, 0),
        ("free", "canceled"): (3, 0),
        ("starter", "active"): (2, 5800),
        ("starter", "trialing"): (1, 0),
    }


def test_growth_has_every_month_since_the_first() -> None:
    assert query("SELECT * FROM v_user_growth") == []
    for _ in range(2):
        factories.customer(created_at=SQL(f"{MONTH} - interval '2 months'"))
    factories.customer(created_at=SQL(MONTH))
    factories.customer(status="deleted")
    found = query("SELECT new_users, total_users, growth_percent FROM v_user_growth ORDER BY month")
    assert [tuple(row.values()) for row in found] == [(2, 2, None), (0, 2, 0), (1, 3, 50)]


def test_growth_counts_the_month_in_utc() -> None:
    query("SET LOCAL timezone = 'America/Los_Angeles'")
    factories.customer(created_at="2026-03-01T00:30:00Z")
    assert str(one("SELECT min(month) AS month FROM v_user_growth")["month"]) == "2026-03-01"


def test_failed_events_are_listed_until_processed() -> None:
    for status in ("pending", "processing", "processed", "ignored"):
        factories.webhook_event(status=status)
    failed = factories.webhook_event(status="failed", attempts=2, next_retry_at=ago("-1 hour"))
    dead = factories.webhook_event(status="dead", attempts=8)
    found = {row["stripe_event_id"] for row in query("SELECT * FROM v_failed_webhook_events")}
    assert found == {failed.stripe_event_id, dead.stripe_event_id}
