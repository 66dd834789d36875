"""What a subscription costs a month, worked out by hand: tiers, packages, fractions of a cent, other currencies."""

from typing import Any

import pytest

from billing.demo.stripe_server import StripeServer
from billing.demo.stripe_world import StripeWorld
from billing.services import reconciliation
from tests.billing.stripe.story import Story, last_error

pytestmark = pytest.mark.django_db

#: The example of Stripe's documentation: fonts at $7 up to five, $6.50 up to ten, then $6.
FONTS = [{"up_to": 5, "unit_amount": 700}, {"up_to": 10, "unit_amount": 650}, {"up_to": None, "unit_amount": 600}]
#: A platform fee that includes ten seats, a second fee with the eleventh, and seats at half a cent beyond a hundred.
FEES = [
    {"up_to": 10, "flat_amount": 5000, "unit_amount": 0},
    {"up_to": 100, "flat_amount": 1000, "unit_amount": 300},
    {"up_to": None, "flat_amount": None, "unit_amount": None, "unit_amount_decimal": "0.5"},
]
MONTHLY = {"interval": "month", "interval_count": 1, "usage_type": "licensed"}


@pytest.fixture
def story(world: StripeWorld) -> Story:
    return Story(world).signed_up()


def sell(story: Story, quantity: int = 1, **price: Any) -> str | None:
    """Put the subscription on another price, as Stripe shows one: what must be asked for is left out."""
    whole = story.item["price"] | {"id": "price_other", "recurring": MONTHLY} | price
    story.world.put(whole)
    shown = {name: value for name, value in whole.items() if name not in ("tiers", "currency_options")}
    story.item.update(price=shown, quantity=quantity)
    return story.update()


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
def test_tiers_price_the_quantity(story: Story, tiers: list, mode: str, quantity: int, cents: int) -> None:
    assert sell(story, quantity, **tiered(tiers, mode)) == "processed"
    assert (story.row.price_cents, story.row.quantity) == (cents, quantity)


def test_tiers_of_a_year_are_a_twelfth(story: Story) -> None:
    sell(story, 20, recurring=MONTHLY | {"interval": "year"}, **tiered(FONTS, "graduated"))
    assert story.row.price_cents == 1063  # 12750 / 12 = 1062.5


def test_metered_tiers_count_as_nothing(story: Story) -> None:
    sell(story, 20, recurring=MONTHLY | {"usage_type": "metered"}, **tiered(FONTS, "graduated"))
    assert story.row.price_cents == 0


def test_tiers_are_asked_for_once(story: Story, stripe_server: StripeServer) -> None:
    sell(story, 6, **tiered(FONTS, "volume"))
    stripe_server.requests.clear()
    story.item["quantity"] = 20
    story.update()
    assert story.row.price_cents == 12000
    assert "GET /v1/prices/price_other" not in stripe_server.requests


def test_tiered_price_is_no_difference_to_reconciliation(story: Story) -> None:
    """Lists of subscriptions say nothing of tiers either."""
    sell(story, 20, **tiered(FONTS, "volume"))
    run = reconciliation.run(actor="ada", reason="routine", take_in=False)
    assert not run.differences.exclude(object_kind="event").exists()


@pytest.mark.parametrize(
    ("round_", "quantity", "cents"),
    [("up", 0, 0), ("up", 1, 900), ("up", 5, 900), ("up", 6, 1800), ("down", 4, 0), ("down", 5, 900), ("down", 9, 900)],
)
def test_packages_are_billed_whole(story: Story, round_: str, quantity: int, cents: int) -> None:
    packages = {"divide_by": 5, "round": round_}
    sell(story, quantity, transform_quantity=packages, unit_amount=900, unit_amount_decimal="900")
    assert story.row.price_cents == cents


@pytest.mark.parametrize(("unit", "quantity", "cents"), [("0.25", 10, 3), ("12.345678901234", 1000, 12346)])
def test_fractions_of_a_cent_add_up_before_they_are_rounded(story: Story, unit: str, quantity: int, cents: int) -> None:
    sell(story, quantity, unit_amount=None, unit_amount_decimal=unit)
    assert story.row.price_cents == cents


def test_price_is_taken_in_the_currency_of_the_subscription(story: Story) -> None:
    """The price shows its own currency's amount, whatever the customer chose at the checkout."""
    options = {"eur": {"unit_amount": 2700, "unit_amount_decimal": "2700"}, "usd": {"unit_amount": 2900}}
    story.subscription["currency"] = "eur"
    sell(story, 2, currency_options=options)
    assert (story.row.price_cents, story.row.currency) == (5400, "eur")


def test_tiers_are_taken_in_the_currency_of_the_subscription(story: Story) -> None:
    euros = {"eur": {"unit_amount": None, "tiers": tiered([{"up_to": None, "unit_amount": 500}], "volume")["tiers"]}}
    story.subscription["currency"] = "eur"
    sell(story, 3, currency_options=euros, **tiered(FONTS, "volume"))
    assert story.row.price_cents == 1500


def test_price_without_an_amount_in_the_currency_parks(story: Story) -> None:
    story.subscription["currency"] = "eur"
    assert sell(story, currency_options={"gbp": {"unit_amount": 1}}) == "failed"
    assert "no recurring amount in eur for price price_other" in last_error()


@pytest.mark.parametrize(
    ("currency", "unit", "cents"),
    [("jpy", "3000", 6000), ("kwd", "9500", 19000)],  # ¥3,000 and 9.500 dinars: no decimals, and three
)
def test_price_is_in_the_currencys_smallest_unit(story: Story, currency: str, unit: str, cents: int) -> None:
    story.subscription["currency"] = currency
    sell(story, 2, currency=currency, unit_amount=int(unit), unit_amount_decimal=unit)
    assert (story.row.price_cents, story.row.currency) == (cents, currency)


@pytest.mark.parametrize(("currency", "cents"), [("usd", 2400), ("eur", 2500), ("gbp", 2900)])
def test_amount_off_is_the_one_in_the_currency_of_the_subscription(story: Story, currency: str, cents: int) -> None:
    coupon = {"id": "co_1", "object": "coupon", "duration": "forever", "percent_off": None, "amount_off": 500}
    coupon |= {"currency": "usd", "livemode": False, "created": 1_780_000_000, "valid": True}
    story.world.put(coupon | {"currency_options": {"eur": {"amount_off": 400}}})
    discount = {"id": "di_1", "object": "discount", "end": None, "source": {"type": "coupon", "coupon": "co_1"}}
    story.subscription |= {"currency": currency, "discounts": [discount]}
    sell(story, currency=currency)
    assert story.row.price_cents == cents
