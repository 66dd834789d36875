"""Cohorts, what is left of the revenue, and what a customer is worth."""

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing.models import User
from monitoring.models import Retention, RetentionCustomer
from tests.support import factories
from tests.support.admin_pages import page_of
from tests.support.lives import BEGINNING, Life, steps, undone
from tests.support.sql import query, run, scalar

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]

# MRR by the ledger's days: of the last day of each month, and of today.
BY_DAY = """
SELECT date_trunc('month', d.day)::date AS month, d.currency, sum(d.end_cents)::bigint, sum(d.customers)::bigint
FROM daily_mrr AS d
WHERE d.day = (date_trunc('month', d.day) + interval '1 month - 1 day')::date
    OR d.day = (now() AT TIME ZONE 'UTC')::date
GROUP BY 1, 2 HAVING sum(d.end_cents) > 0
"""
BY_COHORT = """
SELECT month, currency, sum(mrr_cents)::bigint, sum(customers)::bigint FROM v_retention
GROUP BY 1, 2 HAVING sum(mrr_cents) > 0
"""
BY_PLAN = "SELECT month, currency, end_cents, start_cents FROM v_mrr_retention WHERE tier = 'all' ORDER BY 2, 1"
LISTED = "SELECT cohort, month, currency, count(*), sum(mrr_cents)::bigint FROM v_retention_customers WHERE is_paying"


def month(ago: int) -> date:
    """The first day of the month so many months before this one."""
    months = datetime.now(UTC).year * 12 + datetime.now(UTC).month - 1 - ago
    return date(months // 12, months % 12 + 1, 1)


def moment(ago: int, day: int = 2) -> datetime:
    return datetime.combine(month(ago), datetime.min.time(), UTC).replace(day=day)


def paying(user: User, cents: int, since: datetime, until: datetime | None = None, **values: Any) -> None:
    """A subscription with its dates; the plan follows from the price."""
    tier = {2900: "starter", 9900: "professional"}[cents]
    ended = {"status": "canceled", "canceled_at": until} if until else {}
    factories.subscription(user, price_cents=cents, tier=tier, created_at=since, **ended | values)


def paid(user: User, at: datetime, **values: Any) -> None:
    factories.payment(user, paid_at=at, created_at=at, **values)


def rebuilt() -> None:
    """The ledger and its days, by the dates of the subscriptions."""
    User.objects.update(created_at=moment(36))
    run("SELECT rebuild_mrr_history(true)")


def cohorts(currency: str = "usd") -> dict[tuple[int | None, int | None], tuple[int, int, int | None]]:
    """By cohort, as months ago, and age: customers, MRR and size of the cohort; the unpaid by their month instead."""
    ago = {month(number): number for number in range(40)}
    rows = Retention.objects.filter(currency=currency)
    return {
        (ago[row.cohort] if row.cohort else None, row.age_months if row.cohort else ago[row.month]): (
            row.customers,
            row.mrr_cents,
            row.cohort_customers,
        )
        for row in rows
    }


def test_cohorts_are_followed_from_month_to_month() -> None:
    stays, leaves, returns, other, late, never, once, at_once = (factories.customer() for _ in range(8))
    paying(stays, 2900, moment(3))
    paid(stays, moment(3))
    paid(stays, moment(2))
    paying(leaves, 2900, moment(3), moment(2, 20))
    paid(leaves, moment(3, 5))
    paying(returns, 2900, moment(3), moment(2))
    paying(returns, 9900, moment(1))
    paid(returns, moment(3))
    paying(other, 9900, moment(2), currency="eur")
    paying(other, 2900, moment(2), currency="eur", is_duplicate=True)
    paid(other, moment(2), currency="eur")
    paying(late, 9900, moment(2))
    paid(late, moment(1, 9))
    paying(never, 2900, moment(1))
    factories.payment(never, status="failed", paid_at=None)
    paid(once, moment(2))
    paying(at_once, 2900, moment(2, 3), moment(2, 9))
    paid(at_once, moment(2, 3))
    rebuilt()
    assert cohorts() == {
        (3, 0): (3, 8700, 3),
        (3, 1): (1, 2900, 3),
        (3, 2): (2, 12_800, 3),
        (3, 3): (2, 12_800, 3),
        (2, 0): (0, 0, 2),
        (2, 1): (0, 0, 2),
        (2, 2): (0, 0, 2),
        (1, 0): (1, 9900, 1),
        (1, 1): (1, 9900, 1),
        (None, 2): (1, 9900, None),
        (None, 1): (1, 2900, None),
        (None, 0): (1, 2900, None),
    }
    assert cohorts("eur") == {(2, 0): (1, 9900, 1), (2, 1): (1, 9900, 1), (2, 2): (1, 9900, 1)}


def test_cohort_is_of_the_first_payment_that_was_kept_and_in_utc() -> None:
    query("SET LOCAL timezone = 'Pacific/Auckland'")
    first, taken_back = factories.customer(), factories.customer()
    paid(first, moment(2, 1) - timedelta(seconds=1))
    paid(first, moment(2, 1))
    paid(taken_back, moment(3))
    paid(taken_back, moment(1, 1))
    run("UPDATE payment_history SET paid_at = NULL, status = 'failed' WHERE paid_at = %s", moment(3))
    assert dict(query_pairs("SELECT user_id, cohort FROM first_payments")) == {
        first.pk: month(3),
        taken_back.pk: month(1),
    }


def query_pairs(statement: str) -> list[Any]:
    return [tuple(row.values()) for row in query(statement)]


payments = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["usd", "eur"])), max_size=3)


@settings(max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(st.lists(st.tuples(st.lists(steps, min_size=1, max_size=8), payments), min_size=1, max_size=3))
def test_rows_of_a_month_add_up_to_the_mrr_of_its_last_day_whatever_happened(histories: list[Any]) -> None:
    with undone():
        for number, (history, paid_after) in enumerate(histories):
            life = Life(factories.customer(stripe_customer_id=f"cus_{number}"), BEGINNING)
            for step in history:
                life.step(*step)
            for days, currency in paid_after:
                paid(life.user, BEGINNING + timedelta(days=days), currency=currency)
        run("SELECT refresh_all_days()")
        assert sorted(run(BY_COHORT)) == sorted(run(BY_DAY))
        now = run("SELECT currency, sum(mrr_cents)::bigint FROM paying_subscriptions GROUP BY 1 ORDER BY 1")
        this_month = "SELECT currency, sum(mrr_cents)::bigint FROM v_retention WHERE month = %s GROUP BY 1 ORDER BY 1"
        assert [row for row in run(this_month, month(0)) if row[1]] == now
        counted = run("SELECT cohort, month, currency, customers, mrr_cents FROM v_retention WHERE customers > 0")
        assert sorted(run(f"{LISTED} GROUP BY 1, 2, 3"), key=str) == sorted(counted, key=str)
        months = run(BY_PLAN)
        assert {(at, currency, cents) for at, currency, cents, _ in months if cents} == {row[:3] for row in run(BY_DAY)}
        for (_, currency, end, _), (_, next_currency, _, start) in itertools.pairwise(months):
            assert currency != next_currency or end == start


def test_retention_of_revenue_counts_each_customer_once_a_month() -> None:
    grows, leaves, joins, returns, wavers, passes = (factories.customer() for _ in range(6))
    paying(grows, 2900, moment(3), moment(1, 9))
    paying(grows, 9900, moment(1, 9))
    paying(leaves, 9900, moment(3), moment(1, 9))
    paying(joins, 2900, moment(1))
    paying(returns, 2900, moment(3), moment(2))
    paying(returns, 2900, moment(1))
    paying(wavers, 2900, moment(3), moment(1, 3))
    paying(wavers, 2900, moment(1, 5))
    paying(passes, 2900, moment(1, 3), moment(1, 5))
    rebuilt()
    rows = {row.pop("tier"): row for row in query("SELECT * FROM v_mrr_retention WHERE month = %s", month(1))}
    everything = rows["all"]
    assert [everything[name] for name in ("customers_at_start", "customers_lost", "customers_gained")] == [3, 1, 2]
    figures = ("start_cents", "new_cents", "reactivation_cents", "expansion_cents", "contraction_cents", "churn_cents")
    assert [everything[name] for name in figures] == [15_700, 2900, 2900, 7000, 0, -9900]
    assert everything["end_cents"] == 18_600
    assert [str(everything[name]) for name in ("nrr_percent", "grr_percent")] == ["81.53", "36.94"]
    assert str(everything["quick_ratio"]) == "1.29"  # (2,900 + 2,900 + 7,000) / 9,900
    assert str(rows["starter"]["nrr_percent"]) == "220.69"  # 12,800 of 5,800
    assert (rows["professional"]["nrr_percent"], rows["starter"]["quick_ratio"]) == (0, None)
    assert rows["starter"]["customers_gained"] == 2


def test_lifetime_value_is_what_is_paid_over_what_leaves_between_wilsons_bounds() -> None:
    stay, leaves, yearly = [factories.customer() for _ in range(3)], factories.customer(), factories.customer()
    for user in stay:
        paying(user, 2900, moment(14))
        paid(user, moment(14))
        paid(user, moment(13))
    paying(leaves, 2900, moment(14), moment(5, 10))
    paid(leaves, moment(14))
    factories.payment(leaves, paid_at=moment(13), status="partially_refunded", refunded_cents=900)
    paying(yearly, 9900, moment(14), currency="eur")
    rebuilt()
    (row,) = query("SELECT * FROM v_lifetime_value WHERE currency = 'usd' AND tier = 'starter'")
    lost, months, z = 1, 44, 1.96
    root = z * (lost * (months - lost) / months + z**2 / 4) ** 0.5
    low, high = ((lost + z**2 / 2 + sign * root) / (months + z**2) for sign in (-1, 1))
    assert (row["customer_months"], row["customers_lost"], row["arpu_cents"]) == (months, lost, 2900)
    assert (row["ltv_cents"], row["ltv_low_cents"], row["ltv_high_cents"]) == (
        2900 * 44,
        round(2900 / high),
        round(2900 / low),
    )
    assert (row["realised_customers"], row["realised_cents"]) == (4, (3 * 5800 + 4900) // 4)
    assert (row["left_customers"], row["left_realised_cents"]) == (1, 4900)
    (loyal,) = query("SELECT * FROM v_lifetime_value WHERE currency = 'eur' AND tier = 'all'")
    assert (loyal["ltv_cents"], loyal["ltv_high_cents"], loyal["realised_cents"]) == (None, None, None)
    assert loyal["ltv_low_cents"] > 9900


def test_realised_is_the_sum_of_the_movements() -> None:
    user = factories.customer()
    paid(user, moment(2), amount_cents=5000)
    factories.payment(user, amount_cents=3000, status="disputed", disputed_cents=1000, paid_at=moment(1))
    factories.payment(user, amount_cents=700, status="failed", paid_at=None)
    moved = scalar("SELECT sum(amount_cents) FROM payment_movements")
    assert moved == scalar("SELECT realised_cents FROM v_lifetime_value WHERE tier = 'all'") == 7000


def test_nothing_at_all_is_no_row() -> None:
    for view in ("v_retention", "v_retention_customers", "v_mrr_retention", "v_lifetime_value"):
        assert query(f"SELECT * FROM {view}") == []


def test_view_reads_ledger_and_payments_once_however_many_cohorts() -> None:
    for ago in range(1, 13):
        paying(user := factories.customer(), 2900, moment(ago))
        paid(user, moment(ago))
    rebuilt()
    run("ANALYZE mrr_movements, payment_history")
    plan = "\n".join(line for (line,) in run("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM v_retention"))
    for table in ("mrr_movements", "payment_history"):
        read = [line for line in plan.splitlines() if "Scan" in line and f" on {table}" in line]
        assert [line.endswith("loops=1)") for line in read] == [True], plan


# --- pages ----------------------------------------------------------------------------------------


@pytest.fixture
def lead(signed_in: Any) -> Client:
    client: Client = signed_in("billing_lead")
    return client


def test_each_cell_of_the_heat_map_opens_the_customers_that_it_counts(lead: Client) -> None:
    for number in range(4):
        paying(user := factories.customer(), 2900, moment(2), moment(1) if number == 0 else None)
        paid(user, moment(2))
    paying(factories.customer(), 9900, moment(1))
    rebuilt()
    page = lead.get(page_of(Retention))
    drawn = page.context["cohorts"]
    (row,), (cents,) = drawn.customers, drawn.cents
    assert [cell.text for cell in row.cells] == ["100 %", "75 %", "75 %"]
    assert (row.size, [cell.text for cell in cents.cells]) == ("4", ["100 %", "75 %", "75 %"])
    for address, count in [
        *((cell.href, int(cell.title.split(": ")[1][0])) for cell in row.cells),
        (drawn.unpaid[1], 1),
    ]:
        assert address.replace("&", "&amp;") in page.content.decode()
        assert lead.get(address).context["cl"].result_count == count
    assert drawn.unpaid[0] == "99.00 USD"


def test_heat_map_is_of_the_currency_that_is_asked_for(lead: Client) -> None:
    for currency in ("usd", "usd", "eur"):
        paying(user := factories.customer(), 2900, moment(1), currency=currency)
        paid(user, moment(1), currency=currency)
    rebuilt()
    assert lead.get(page_of(Retention)).context["cohorts"].currency == "usd"
    assert lead.get(page_of(Retention), {"currency": "eur"}).context["cohorts"].currency == "eur"


@pytest.mark.parametrize("asked", [{"cohort": "x"}, {"cohort": "2025-01-01", "age_months": "1e9"}, {"month": "x"}])
def test_senseless_address_of_a_cell_is_no_error(lead: Client, asked: dict[str, str]) -> None:
    assert lead.get(page_of(RetentionCustomer), asked, follow=True).status_code == 200
    odd = reverse("admin:monitoring_retentioncustomer_change", args=["nobody x"])
    assert lead.get(odd, follow=True).status_code == 200
