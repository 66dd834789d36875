"""What a subscription costs a month, worked out by hand: tiers, packages, fractions of a cent, other currencies."""

from typing import Any

import pytest

from billing.services import reconciliation
from demo.stripe.server import StripeServer
from tests.support.event_stream import EventStream, last_error

pytestmark = pytest.mark.django_db

# The example of Stripe's documentation: fonts at $7 up to five, $6.50 up to ten, then $6.
FONTS = [{"up_to": 5, "unit_amount": 700}, {"up_to": 10, "unit_amount": 650}, {"up_to": None, "unit_amount": 600}]
# A platform fee that includes ten seats, a second fee with the eleventh, and seats at half a cent beyond a hundred.
FEES = [
    {"up_to": 10, "flat_amount": 5000, "unit_amount": 0},
    {"up_to": 100, "flat_amount": 1000, "unit_amount": 300},
    {"up_to": None, "flat_amount": None, "unit_amount": None, "unit_amount_decimal": "0.5"},
]
MONTHLY = {"interval": "month", "interval_count": 1, "usage_type": "licensed"}


def sell(stream: EventStream, quantity: int = 1, **price: Any) -> str | None:
    """Put the subscription on another price, as Stripe shows one: what must be asked for is left out."""
    whole = stream.item["price"] | {"id": "price_other", "recurring": MONTHLY} | price
    stream.world.put(whole)
    shown = {name: value for name, value in whole.items() if name not in ("tiers", "currency_options")}
    stream.item.update(price=shown, quantity=quantity)
    return stream.update()


def tiered(tiers: list[dict[str, Any]], mode: str) -> dict[str, Any]:
    empty = {"flat_amount": None, "flat_amount_decimal": None, "unit_amount": None, "unit_amount_decimal": None}
    return {
        "billing_scheme": "tiered",
        "tiers_mode": mode,
        "tiers": [empty | tier for tier in tiers],
        "unit_amount": None,
        "unit_amount_decimal": None,
    }


@pytest.mark.parametrize(
    ("tiers", "mode", "quantity", "cents"),
    [
        (FONTS, "volume", 1, 700),
        (FONTS, "volume", 5, 3500),
        (FONTS, "volume", 6, 3900),
        (FONTS, "volume", 10, 6500),
        (FONTS, "volume", 20, 12000),
        (FONTS, "graduated", 5, 3500),
        (FONTS, "graduated", 6, 4150),  # 5 * 700 + 650
        (FONTS, "graduated", 10, 6750),  # 5 * 700 + 5 * 650
        (FONTS, "graduated", 20, 12750),  # 6750 + 10 * 600
        (FEES, "volume", 7, 5000),
        (FEES, "volume", 11, 4300),  # 1000 + 11 * 300
        (FEES, "volume", 201, 101),  # 201 * 0.5, rounded half up
        (FEES, "graduated", 0, 5000),  # the first tier's fee is due before anybody has a seat
        (FEES, "graduated", 10, 5000),
        (FEES, "graduated", 11, 6300),  # 5000 + 1000 + 300
        (FEES, "graduated", 103, 33002),  # 5000 + 1000 + 90 * 300 + 3 * 0.5, rounded half up
    ],
)
def test_tiers_price_the_quantity(stream: EventStream, tiers: list, mode: str, quantity: int, cents: int) -> None:
    assert sell(stream, quantity, **tiered(tiers, mode)) == "processed"
    assert (stream.row.price_cents, stream.row.quantity) == (cents, quantity)


def test_tiers_of_a_year_are_a_twelfth(stream: EventStream) -> None:
    sell(stream, 20, recurring=MONTHLY | {"interval": "year"}, **tiered(FONTS, "graduated"))
    assert stream.row.price_cents == 1063  # 12750 / 12 = 1062.5


def test_metered_tiers_count_as_nothing(stream: EventStream) -> None:
    sell(stream, 20, recurring=MONTHLY | {"usage_type": "metered"}, **tiered(FONTS, "graduated"))
    assert stream.row.price_cents == 0


def test_tiers_are_asked_for_once(stream: EventStream, stripe_server: StripeServer) -> None:
    sell(stream, 6, **tiered(FONTS, "volume"))
    stripe_server.requests.clear()
    stream.item["quantity"] = 20
    stream.update()
    assert stream.row.price_cents == 12000
    assert "GET /v1/prices/price_other" not in stripe_server.requests


def test_tiered_price_is_no_difference_to_reconciliation(stream: EventStream) -> None:
    """Lists of subscriptions say nothing of tiers either."""
    sell(stream, 20, **tiered(FONTS, "volume"))
    run = reconciliation.run(actor="ada", reason="routine", ingest=False)
    assert not run.differences.exclude(object_kind="event").exists()


@pytest.mark.parametrize(
    ("round_", "quantity", "cents"),
    [("up", 0, 0), ("up", 1, 900), ("up", 5, 900), ("up", 6, 1800), ("down", 4, 0), ("down", 5, 900), ("down", 9, 900)],
)
def test_packages_are_billed_whole(stream: EventStream, round_: str, quantity: int, cents: int) -> None:
    packages = {"divide_by": 5, "round": round_}
    sell(stream, quantity, transform_quantity=packages, unit_amount=900, unit_amount_decimal="900")
    assert stream.row.price_cents == cents


@pytest.mark.parametrize(("unit", "quantity", "cents"), [("0.25", 10, 3), ("12.345678901234", 1000, 12346)])
def test_fractions_of_a_cent_add_up_before_they_are_rounded(
    stream: EventStream, unit: str, quantity: int, cents: int
) -> None:
    sell(stream, quantity, unit_amount=None, unit_amount_decimal=unit)
    assert stream.row.price_cents == cents


def test_price_is_taken_in_the_currency_of_the_subscription(stream: EventStream) -> None:
    """The price shows its own currency's amount, whatever the customer chose at the checkout."""
    options = {"eur": {"unit_amount": 2700, "unit_amount_decimal": "2700"}, "usd": {"unit_amount": 2900}}
    stream.subscription["currency"] = "eur"
    sell(stream, 2, currency_options=options)
    assert (stream.row.price_cents, stream.row.currency) == (5400, "eur")


def test_tiers_are_taken_in_the_currency_of_the_subscription(stream: EventStream) -> None:
    euros = {"eur": {"unit_amount": None, "tiers": tiered([{"up_to": None, "unit_amount": 500}], "volume")["tiers"]}}
    stream.subscription["currency"] = "eur"
    sell(stream, 3, currency_options=euros, **tiered(FONTS, "volume"))
    assert stream.row.price_cents == 1500


def test_price_without_an_amount_in_the_currency_parks(stream: EventStream) -> None:
    stream.subscription["currency"] = "eur"
    assert sell(stream, currency_options={"gbp": {"unit_amount": 1}}) == "failed"
    assert "no recurring amount in eur for price price_other" in last_error()


@pytest.mark.parametrize(
    ("currency", "unit", "cents"),
    [("jpy", "3000", 6000), ("kwd", "9500", 19000)],  # ¥3,000 and 9.500 dinars: no decimals, and three
)
def test_price_is_in_the_currencys_smallest_unit(stream: EventStream, currency: str, unit: str, cents: int) -> None:
    stream.subscription["currency"] = currency
    sell(stream, 2, currency=currency, unit_amount=int(unit), unit_amount_decimal=unit)
    assert (stream.row.price_cents, stream.row.currency) == (cents, currency)


@pytest.mark.parametrize(("currency", "cents"), [("usd", 2400), ("eur", 2500), ("gbp", 2900)])
def test_amount_off_is_the_one_in_the_currency_of_the_subscription(
    stream: EventStream, currency: str, cents: int
) -> None:
    coupon = {"id": "co_1", "object": "coupon", "duration": "forever", "percent_off": None, "amount_off": 500}
    coupon |= {"currency": "usd", "livemode": False, "created": 1_780_000_000, "valid": True}
    stream.world.put(coupon | {"currency_options": {"eur": {"amount_off": 400}}})
    discount = {"id": "di_1", "object": "discount", "end": None, "source": {"type": "coupon", "coupon": "co_1"}}
    stream.subscription |= {"currency": currency, "discounts": [discount]}
    sell(stream, currency=currency)
    assert stream.row.price_cents == cents
