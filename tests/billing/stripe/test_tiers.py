"""A tier is never guessed, and who has a price that aged keeps the plan."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.models import PlanPrice, Subscription
from billing.services import prices
from billing.stripe import tiers
from tests.support.event_stream import EventStream, last_error, run_tasks
from tests.support.sql import query

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "ticket 1"}


def named(**said: Any) -> str | None:
    return tiers.named_tier({"id": "price_1", "object": "price", **said})


@pytest.mark.parametrize("interval", ["day", "daily", "week", "weekly", "month", "monthly", "year", "yearly", "annual"])
@pytest.mark.parametrize("tier", ["free", "starter", "professional", "enterprise"])
def test_lookup_key_of_plan_and_interval_names_the_plan(tier: str, interval: str) -> None:
    assert named(lookup_key=f"{tier}_{interval}") == tier


@pytest.mark.parametrize(
    "key",
    [
        *(
            "enterprise_support_monthly",
            "enterprise",
            "enterprise_",
            "enterprise_monthly_support",
            "my_enterprise_monthly",
        ),
        *("enterprise-monthly", "enterprise_2027", "enterprise_monthly ", "Enterprise_monthly", "enterprise_monthly\n"),
        *("enterprisemonthly", "pro_monthly", "monthly_enterprise", "none_monthly", "", None),
    ],
)
def test_any_other_lookup_key_names_none(key: str | None) -> None:
    assert named(lookup_key=key) is None


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({"tier": "starter"}, "starter"),
        ({"tier": "none"}, "none"),
        ({"tier": "enterprise support"}, "professional"),
        ({"plan": "starter"}, "professional"),
        (None, "professional"),
    ],
)
def test_metadata_comes_before_the_lookup_key(said: dict[str, str] | None, tier: str) -> None:
    assert named(metadata=said, lookup_key="professional_yearly") == tier


def test_product_names_no_plan_by_itself() -> None:
    assert tiers.named_tier({"id": "prod_1", "object": "product", "metadata": {"tier": "enterprise"}}) is None


def warned() -> list[tuple[Any, ...]]:
    found = query("SELECT object_id, severity, message FROM v_alerts WHERE alert_type = 'unclaimed_prices'")
    return [tuple(row.values()) for row in found]


def lost_its_key(stream: EventStream) -> None:
    """A higher price takes the key over, as `transfer_lookup_key` does, and this one is archived."""
    stream.item["price"] |= {"metadata": {}, "lookup_key": "starter_monthly"}
    stream.world.put(stream.item["price"])
    stream.update()
    new = stream.copy_of(stream.item["price"], id="price_new", unit_amount=3900, unit_amount_decimal="3900")
    stream.announce("price.created", new)
    stream.item["price"] |= {"lookup_key": None, "active": False}


def lost_its_metadata(stream: EventStream) -> None:
    stream.item["price"] |= {"metadata": {"tier": "gold"}, "lookup_key": None}


def lost_its_mapping(stream: EventStream) -> None:
    lost_its_metadata(stream)
    prices.map_price(stream.item["price"]["id"], "starter", **WHO)
    prices.unmap_price(stream.item["price"]["id"], **WHO)


@pytest.mark.parametrize("age", [lost_its_key, lost_its_metadata, lost_its_mapping])
def test_row_of_a_price_that_aged_goes_on(stream: EventStream, age: Callable[[EventStream], None]) -> None:
    price_id = stream.item["price"]["id"]
    age(stream)
    stream.world.put(stream.item["price"])
    stream.announce("price.updated", stream.item["price"])
    said = "No plan claims the price any more; customers who have it: 1."
    assert warned() == [(price_id, "warning", said)]
    assert stream.update(status="past_due") == "processed"
    assert (stream.row.status, stream.row.tier) == ("past_due", "starter")
    assert [(price.stripe_price_id, price.sells, price.subscribers) for price in prices.listed().subscribed] == [
        (price_id, None, 1)
    ]
    prices.map_price(price_id, "professional", **WHO)
    run_tasks()
    assert (stream.row.status, stream.row.tier) == ("past_due", "professional")
    assert warned() == []


def test_price_that_nobody_announced_is_told_of_all_the_same(stream: EventStream) -> None:
    stream.item["price"] |= {"metadata": {}, "lookup_key": None}
    assert stream.update(status="past_due") == "processed"
    assert [price_id for price_id, _, _ in warned()] == [stream.item["price"]["id"]]


def test_price_that_is_renamed_or_archived_changes_nothing(stream: EventStream) -> None:
    product = stream.world.objects[stream.item["price"]["product"]]
    product.update(name="Old Starter", active=False)
    assert stream.announce("product.updated", product) == "processed"
    stream.item["price"]["active"] = False
    stream.world.put(stream.item["price"])
    assert stream.announce("price.updated", stream.item["price"]) == "processed"
    assert stream.update(status="past_due") == "processed"
    assert stream.row.tier == "starter"
    assert warned() == []


def test_another_unclaimed_price_waits_and_names_all_that_nobody_claims(stream: EventStream) -> None:
    other = stream.item["price"] | {"id": "price_a", "metadata": {}, "lookup_key": None}
    stream.item["price"] = other
    stream.subscription["items"]["data"].append(stream.item | {"id": "si_2", "price": other | {"id": "price_b"}})
    assert stream.update() == "failed"
    assert "price price_a, price_b of subscription" in last_error()
    stream.world.put(other)
    prices.map_price("price_a", "professional", **WHO)
    run_tasks()
    assert stream.live_tier() == "professional"


def test_product_that_sells_a_plan_does_so_for_each_of_its_prices(stream: EventStream) -> None:
    stream.item["price"] |= {"metadata": {}, "lookup_key": None}
    stream.world.put(stream.item["price"])
    PlanPrice.objects.create(stripe_price_id=stream.item["price"]["product"], tier="enterprise")
    assert stream.update() == "processed"
    assert Subscription.objects.get(status="active").tier == "enterprise"
    assert warned() == []
