"""The rows of `v_retention` as two heat maps: what is left of each cohort's customers, and of their money."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.urls import reverse

from glyphforge.money import money
from monitoring.models import Retention
from monitoring.models.retention_view import name_of

COHORTS_SHOWN = MONTHS_SHOWN = 24
SHADES = 5


@dataclass(frozen=True)
class Cell:
    """What is left after some months: a share of the beginning, what it is of, and where its customers are listed.

    `shade` is 0 for nothing to `SHADES`; without a beginning there is no share.
    """

    text: str
    title: str
    shade: int
    href: str


@dataclass(frozen=True)
class Row:
    """A cohort: its name, how large it was, and its cells by age."""

    name: str
    size: str
    cells: list[Cell]


@dataclass(frozen=True)
class HeatMap:
    """Both maps of one currency; `unpaid` are the MRR of who has not paid yet, and the address of their list."""

    currency: str
    ages: range
    customers: list[Row]
    cents: list[Row]
    unpaid: tuple[str, str] | None


def heat_map(rows: Sequence[Retention]) -> HeatMap | None:
    """Draw the currency that most customers pay in, of the latest cohorts; None without any cohort.

    Customers are a share of the cohort's size, money of the MRR at the end of the cohort's first month.
    """
    known = sorted(((row.cohort, row) for row in rows if row.cohort is not None), key=lambda pair: pair[1].month)
    if not known:
        return None
    now = known[-1][1].month
    most = Counter({row.currency: 0 for _, row in known})
    for _, row in known:
        most[row.currency] += row.customers if row.month == now else 0
    currency = max(most, key=lambda code: (most[code], code == "usd", code))
    cohorts: dict[date, list[Retention]] = {}
    for cohort, row in known:
        if row.currency == currency:
            cohorts.setdefault(cohort, []).append(row)
    shown = sorted(cohorts, reverse=True)[:COHORTS_SHOWN]
    longest = max(len(cohorts[cohort]) for cohort in shown)
    unpaid = next((row for row in rows if row.cohort is None and (row.month, row.currency) == (now, currency)), None)
    return HeatMap(
        currency=currency,
        ages=range(min(longest, MONTHS_SHOWN)),
        customers=[_customers(cohorts[cohort][:MONTHS_SHOWN]) for cohort in shown],
        cents=[_cents(cohorts[cohort][:MONTHS_SHOWN]) for cohort in shown],
        unpaid=(money(unpaid.mrr_cents, currency), customers_of(unpaid)) if unpaid else None,
    )


def customers_of(row: Retention) -> str:
    """The address of the list of those who are counted in the row."""
    asked = {"currency": row.currency, "month": f"{row.month}", "is_paying__exact": 1}
    asked |= {"cohort": f"{row.cohort}"} if row.cohort else {"cohort__isnull": "True"}
    return reverse("admin:monitoring_retentioncustomer_changelist", query=asked)


def _customers(rows: list[Retention]) -> Row:
    size = rows[0].cohort_customers or 0
    cells = [_cell(row, row.customers, size, f"{row.customers:,} of {size:,} customers") for row in rows]
    return Row(name_of(rows[0].cohort), f"{size:,}", cells)


def _cents(rows: list[Retention]) -> Row:
    start = rows[0].mrr_cents
    cells = [
        _cell(row, row.mrr_cents, start, f"{money(row.mrr_cents, row.currency)} of {money(start, row.currency)}")
        for row in rows
    ]
    return Row(name_of(rows[0].cohort), money(start, rows[0].currency, short=True), cells)


def _cell(row: Retention, left: int, start: int, amounts: str) -> Cell:
    share = left / start if start else None
    text = f"{100 * share:.0f} %" if share is not None else f"{left:,}"
    shade = 0 if left <= 0 else min(SHADES, max(1, round(SHADES * (1 if share is None else share))))
    return Cell(text, f"{name_of(row.cohort)} after {row.age_months}: {amounts}", shade, customers_of(row))
