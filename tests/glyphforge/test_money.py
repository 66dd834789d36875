"""Amounts in currencies with no, two and three decimals."""

from decimal import Decimal

import pytest

from glyphforge.admin.columns import EMPTY
from glyphforge.money import money, smallest_units


@pytest.mark.parametrize(
    ("cents", "currency", "shown"),
    [
        (123450, "usd", "1,234.50 USD"),
        (1200, "JPY", "1,200 JPY"),
        (5120, "kwd", "5.120 KWD"),
        (500, "ugx", "5.00 UGX"),  # Stripe counts it in hundredths, although it has none
        (-2900, "eur", "-29.00 EUR"),
        (0, None, "0.00 USD"),
        (None, "usd", EMPTY),
    ],
)
def test_money_has_the_decimals_of_its_currency(cents: int | None, currency: str | None, shown: str) -> None:
    assert money(cents, currency) == shown


@pytest.mark.parametrize(
    ("amount", "currency", "cents"), [("10.00", "usd", 1000), ("10", "jpy", 10), ("1.5", "kwd", 1500)]
)
def test_what_people_type_becomes_what_stripe_counts(amount: str, currency: str, cents: int) -> None:
    assert smallest_units(Decimal(amount), currency) == cents


@pytest.mark.parametrize(
    ("cents", "currency", "expected"),
    [(1_234_500, "usd", "$12,345"), (-9900, "eur", "-€99"), (120_000, "chf", "1,200 CHF")],
)
def test_money_is_short_and_names_its_currency(cents: int, currency: str, expected: str) -> None:
    assert money(cents, currency, short=True) == expected
