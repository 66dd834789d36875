"""What is to come: a customer's month, the company's next 30 days, and how sure that is."""

import calendar
import math
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from billing.models import User
from monitoring.models import Forecast, Renewal, UserNearLimit
from monitoring.models.usage_forecast import usage_forecasts
from tests.support import factories
from tests.support.admin_pages import page_of
from tests.support.sql import one, query, run

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]


def today() -> date:
    return datetime.now(UTC).date()


def days_to_come() -> list[date]:
    """Of this month, today included."""
    last = calendar.monthrange(today().year, today().month)[1]
    return [today().replace(day=day) for day in range(today().day, last + 1)]


# --- a customer's month ---------------------------------------------------------------------------


def used(user: User, requests: Callable[[date], int], ages: Iterable[int] = range(1, 29)) -> None:
    """Folded days so many days ago; the first folded day of all is long over."""
    run(
        "INSERT INTO traffic_days (day, requests, failed_requests, total_response_time_ms, active_users)"
        " VALUES ('2020-01-01', 1, 0, 0, 1) ON CONFLICT DO NOTHING"
    )
    for age in ages:
        day = today() - timedelta(days=age)
        if requests(day):
            run("INSERT INTO traffic_user_days VALUES (%s, %s, %s, 0)", day, user.pk, requests(day))


def counted(user: User, requests: int) -> None:
    """What counts against this month's limit so far."""
    factories.requests(user, requests)


def limited(limit: int | None, joined: int = 60) -> User:
    """A customer who joined so many days ago, with a limit of their own; None is unlimited."""
    user = factories.customer(created_at=datetime.now(UTC) - timedelta(days=joined))
    factories.subscription(user, tier="enterprise" if limit is None else "starter", monthly_request_limit=limit)
    return user


def forecast(user: User) -> tuple[int, date | None, str]:
    found = usage_forecasts([user.pk])[user.pk]
    return found.expected, found.reached_on, found.fitting_plan


def test_limit_is_reached_on_the_day_that_brings_its_last_request() -> None:
    left = len(days_to_come())
    holds, last_day, at_once = (limited(limit) for limit in (30 + 10 * left + 1, 30 + 10 * left, 40))
    for user in (holds, last_day, at_once):
        counted(user, 30)
        used(user, lambda day: 10)
    assert forecast(holds)[:2] == (30 + 10 * left, None)
    assert forecast(last_day)[:2] == (30 + 10 * left, days_to_come()[-1])
    assert forecast(at_once)[:2] == (30 + 10 * left, today())


def test_weekday_is_expected_to_be_like_the_same_weekday_of_the_last_four_weeks() -> None:
    user = limited(None)
    used(user, lambda day: 70 if day.weekday() == 0 else 7 * (day.day % 2) if day.weekday() == 3 else 0)
    thursdays = [7 * (day.day % 2) for age in range(1, 29) if (day := today() - timedelta(days=age)).weekday() == 3]
    means = {0: 70.0, 3: sum(thursdays) / 4}
    expected = sum(means.get(day.weekday(), 0) for day in days_to_come())
    assert forecast(user)[0] == pytest.approx(expected, abs=0.5)
    assert forecast(user)[1] is None


def test_what_today_has_brought_is_not_expected_again() -> None:
    user = limited(None)
    used(user, lambda day: 10)
    used(user, lambda day: 4, ages=[0])
    counted(user, 4)
    assert forecast(user)[0] == 10 * len(days_to_come())
    run("UPDATE traffic_user_days SET requests = 25 WHERE day = %s", today())
    counted(user, 21)
    assert forecast(user)[0] == 25 + 10 * (len(days_to_come()) - 1)


def test_who_joined_lately_is_measured_by_the_days_since() -> None:
    five_days, just_now = limited(None, joined=5), limited(50, joined=0)
    used(five_days, lambda day: 30, ages=[5])
    assert forecast(five_days)[0] == 6 * len(days_to_come())
    counted(just_now, 20)
    assert forecast(just_now)[:2] == (20, None)


def test_limit_that_is_used_up_says_since_when() -> None:
    user, nothing_allowed = limited(20), limited(0)
    used(user, lambda day: 25, ages=[0])
    counted(user, 25)
    assert forecast(user)[1] == today()
    assert forecast(nothing_allowed)[1] == today()
    assert "was reached" in str(usage_forecasts([user.pk])[user.pk])


@pytest.mark.parametrize(
    ("requests", "plan"),
    [(0, "Free"), (100, "Free"), (101, "Starter"), (10_001, "Professional"), (10**6, "Enterprise")],
)
def test_cheapest_plan_that_the_month_fits_into_is_named(requests: int, plan: str) -> None:
    user = limited(50)
    run("INSERT INTO monthly_usage_totals VALUES (%s, %s, %s, %s, 0, 0, 0, now())", user.pk, today().replace(day=1),
        requests, requests)  # fmt: skip
    assert forecast(user)[2] == plan


def test_usage_is_exact_and_the_limit_is_the_one_that_holds() -> None:
    unpaid, unlimited = limited(50_000), limited(None)
    run("UPDATE subscriptions SET status = 'unpaid' WHERE user_id = %s AND tier = 'starter'", unpaid.pk)
    counted(unpaid, 100)  # the free plan's limit, queued and not folded
    counted(unlimited, 7)
    found = usage_forecasts([unpaid.pk, unlimited.pk, factories.customer(status="deleted").pk])
    assert (found[unpaid.pk].limit, found[unpaid.pk].requests, found[unpaid.pk].reached_on) == (100, 100, today())
    assert (found[unlimited.pk].limit, found[unlimited.pk].requests) == (None, 7)
    assert str(found[unlimited.pk]) == "7 requests are expected this month."


def test_what_other_months_brought_does_not_count() -> None:
    user = limited(50)
    last_month = today().replace(day=1) - timedelta(days=1)
    run(
        "INSERT INTO monthly_usage_totals VALUES (%s, %s, 900, 900, 0, 0, 0, now())", user.pk, last_month.replace(day=1)
    )
    counted(user, 3)
    assert forecast(user)[:2] == (3, None)
    assert usage_forecasts([user.pk])[user.pk].requests == 3


def test_customers_are_a_list_and_not_null() -> None:
    assert query("SELECT * FROM usage_forecasts('{}')") == []
    with pytest.raises(DatabaseError, match="usage_forecasts: customers must be a list of ids, not NULL"):
        run("SELECT * FROM usage_forecasts(NULL)")


def test_customers_page_and_the_list_near_the_limit_say_it(signed_in: Callable[[str], Client]) -> None:
    user, client = limited(100), signed_in("support")
    counted(user, 90)
    used(user, lambda day: 50)
    sentence = str(usage_forecasts([user.pk])[user.pk])
    assert sentence.startswith(f"The limit will be reached on {today()}. ")
    assert sentence.endswith(" requests are expected this month: Starter would fit.")
    for address in (
        page_of(User, "change", user.pk),
        page_of(UserNearLimit),
        page_of(UserNearLimit, "change", user.pk),
    ):
        assert sentence in client.get(address).content.decode()


# --- requests of the next 30 days -----------------------------------------------------------------

AS_OF = date(2026, 3, 2)  # a Monday


def traffic(requests: Callable[[int], float], days: int) -> None:
    """Days before `AS_OF`, of which `requests` gets the number, 1 for the day before."""
    run("DELETE FROM traffic_days")
    for back in range(1, days + 1):
        run("INSERT INTO traffic_days VALUES (%s, %s, 0, 0, 1)", AS_OF - timedelta(days=back), round(requests(back)))


def expected(as_of: date = AS_OF) -> dict[str, Any]:
    return one("SELECT * FROM forecast_requests(%s)", as_of)


def test_traffic_that_never_changes_goes_on() -> None:
    traffic(lambda back: 1000, 120)
    assert expected() == {
        "days_known": 120,
        "expected_requests": 30_000,
        "low_requests": 30_000,
        "high_requests": 30_000,
        "run_rate_requests": 30_000,
        "past_forecasts": 120 - 28 - 30 + 1,
    }


def test_weekdays_are_known() -> None:
    traffic(lambda back: 100 if (AS_OF - timedelta(days=back)).weekday() < 5 else 10, 120)
    days = [AS_OF + timedelta(days=number) for number in range(30)]
    found = expected()
    assert found["expected_requests"] == sum(100 if day.weekday() < 5 else 10 for day in days)
    assert found["low_requests"] == found["high_requests"] == found["expected_requests"]


def test_growth_goes_on_damped() -> None:
    rate = 0.03  # a week
    traffic(lambda back: 1e6 * math.exp(-rate * back / 7), 100)
    level = sum(1e6 * math.exp(-rate * back / 7) for back in range(1, 29)) / 28
    ahead = [sum(0.95**week for week in range(1, 100)) * (1 - 0.95 ** ((n + 13.5) / 7)) for n in range(1, 31)]
    grown = sum(math.exp(rate * weeks) for weeks in ahead)
    found = expected()
    assert found["expected_requests"] == pytest.approx(level * grown, rel=2e-3)
    assert found["run_rate_requests"] < found["expected_requests"]


@pytest.mark.parametrize(
    ("days", "interval"), [(0, None), (1, None), (10, None), (40, None), (70, None), (71, 300), (800, 300)]
)
def test_interval_needs_earlier_forecasts(days: int, interval: int | None) -> None:
    traffic(lambda back: 10, days)
    found = expected()
    assert (found["days_known"], found["expected_requests"]) == (days, 300 if days else None)
    assert (found["low_requests"], found["high_requests"]) == (interval, interval)


def test_what_came_after_the_day_is_not_looked_at() -> None:
    traffic(lambda back: 10 * back, 120)
    before = expected(AS_OF - timedelta(days=40))
    run("DELETE FROM traffic_days WHERE day >= %s", AS_OF - timedelta(days=40))
    assert expected(AS_OF - timedelta(days=40)) == before


def test_days_without_a_request_are_days() -> None:
    traffic(lambda back: 0 if back < 100 else 10, 120)
    assert expected()["expected_requests"] == 0
    assert expected()["days_known"] == 120


@pytest.mark.parametrize("as_of", ["tomorrow", "infinity", "-infinity"])
def test_day_that_is_none_is_refused(as_of: str) -> None:
    with pytest.raises(DatabaseError, match="forecast_requests: as_of must be a day up to today"):
        run("SELECT * FROM forecast_requests(%s::date + CASE WHEN %s = 'tomorrow' THEN 1 ELSE 0 END)", as_of, as_of)


# --- renewals and cancellations -------------------------------------------------------------------


def sold(**values: Any) -> User:
    now = datetime.now(UTC)
    period = {"current_period_start": now - timedelta(days=20), "current_period_end": now + timedelta(days=10)}
    row = factories.subscription(price_cents=values.pop("price_cents", 2900), **period | values)
    return row.user


def rows_of(user: User) -> list[tuple[str, int, int]]:
    """Kind, whole days from now and amount, the next first."""
    found = Renewal.objects.filter(user=user).order_by("due_at", "kind")
    return [(row.kind, (row.due_at - datetime.now(UTC)).days + 1, row.amount_cents) for row in found]


def test_each_period_that_ends_within_30_days_is_a_renewal() -> None:
    now = datetime.now(UTC)
    week = {"current_period_start": now - timedelta(days=5), "current_period_end": now + timedelta(days=2)}
    year = {"current_period_start": now - timedelta(days=345), "current_period_end": now + timedelta(days=20)}
    quarter = {"current_period_start": now - timedelta(days=82), "current_period_end": now + timedelta(days=10)}
    later = {"current_period_end": now + timedelta(days=31)}
    assert rows_of(sold()) == [("renewal", 10, 2900)]
    assert rows_of(sold(interval="year", **year)) == [("renewal", 20, 34_800)]
    assert rows_of(sold(**quarter)) == [("renewal", 10, 8700)]
    assert rows_of(sold(interval="week", price_cents=3650, **week)) == [
        ("renewal", days, 840) for days in (2, 9, 16, 23, 30)
    ]
    assert rows_of(sold(**later)) == []


def test_what_brings_nothing_is_not_there() -> None:
    sold(status="unpaid")
    sold(status="paused")
    sold(status="canceled", canceled_at=datetime.now(UTC))
    sold(collection_paused="void")
    sold(price_cents=0)
    sold(is_duplicate=True)
    factories.customer()
    assert query("SELECT * FROM v_renewals") == []
    assert [row["figure"] for row in query("SELECT * FROM v_forecast")] == ["requests"]


def test_trial_ends_with_a_first_charge_and_a_cancellation_with_none() -> None:
    now = datetime.now(UTC)
    trial = {"status": "trialing", "trial_end": now + timedelta(days=5), "current_period_end": now + timedelta(days=5)}
    assert rows_of(sold(**trial)) == [("trial_end", 5, 2900)]
    assert rows_of(sold(cancel_at_period_end=True)) == [("cancellation", 10, 2900)]
    assert rows_of(sold(cancel_at=now + timedelta(days=300))) == [("renewal", 10, 2900), ("cancellation", 300, 2900)]
    assert rows_of(sold(**trial, cancel_at_period_end=True)) == [("cancellation", 5, 2900)]


def test_forecast_is_the_sum_of_its_rows_by_currency(signed_in: Callable[[str], Client]) -> None:
    for currency in ("usd", "usd", "eur"):
        sold(currency=currency)
    sold(cancel_at_period_end=True)
    found = {(row.figure, row.currency): (row.number, row.amount_cents) for row in Forecast.objects.all()}
    assert found == {
        ("renewal", "usd"): (2, 5800),
        ("renewal", "eur"): (1, 2900),
        ("cancellation", "usd"): (1, 2900),
        ("requests", None): (None, None),
    }
    lead = signed_in("billing_lead")
    page = lead.get(page_of(Forecast)).content.decode()
    address = f"{page_of(Renewal)}?kind__exact=renewal&currency__exact=usd"
    assert address.replace("&", "&amp;") in page
    assert lead.get(address).context["cl"].result_count == 2
