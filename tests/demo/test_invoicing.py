"""The local Stripe's arithmetic against the recorded invoices, and its previews against the invoices it makes."""

from collections.abc import Iterator
from typing import Any

import pytest

from demo.stripe import changes, invoicing, recordings
from demo.stripe.changes import Change
from demo.stripe.refusals import RefusalError
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json

SUMS = ("subtotal", "total", "total_excluding_tax", "starting_balance", "ending_balance", "amount_due")
ALL = [item for name in recordings.names() for item in recordings.load(name).objects.values()]
OBJECTS = {item["id"]: item for item in ALL}
INVOICES = [item for item in ALL if item["object"] == "invoice"]


def recorded_changes() -> Iterator[Any]:
    """Each recorded change of a price in mid-period: the subscription before and after it, and when it was."""
    for name in recordings.names():
        for event in recordings.load(name).events:
            before = (event["data"].get("previous_attributes") or {}).get("items")
            after = event["data"]["object"]
            if before and before["data"][0]["price"]["id"] != after["items"]["data"][0]["price"]["id"]:
                yield pytest.param(after | {"items": before}, after, event["created"], id=f"{name}-{event['created']}")


def of_lines(lines: list[Json]) -> list[Any]:
    return sorted(
        (line["amount"], line["description"], line["period"]["start"], line["period"]["end"]) for line in lines
    )


@pytest.mark.parametrize(("before", "after", "at"), recorded_changes())
def test_change_in_mid_period_costs_what_was_recorded(before: Json, after: Json, at: int) -> None:
    wanted = [{"id": item["id"], "price": item["price"]["id"]} for item in after["items"]["data"]]
    made = [item for item in INVOICES if item["created"] == at and item["customer"] == before["customer"]]
    behavior = "always_invoice" if made else "create_prorations"
    catalogue = {item["id"]: item for item in ALL if item["object"] in ("price", "product", "customer")}
    change = changes.reckon(catalogue, before, {"items": wanted, "proration_behavior": behavior}, now=at)
    if made:
        assert change.invoice
        assert of_lines(change.invoice["lines"]["data"]) == of_lines(made[0]["lines"]["data"])
        assert {name: change.invoice[name] for name in SUMS} == {name: made[0][name] for name in SUMS}
    else:
        items = [item for item in ALL if item["object"] == "invoiceitem" and item["date"] == at]
        assert of_lines(change.pending) == of_lines(items)


@pytest.mark.parametrize("invoice", INVOICES, ids=lambda item: item["id"])
def test_recorded_invoice_adds_up_to_what_is_due(invoice: Json) -> None:
    lines, subscription = invoice["lines"]["data"], {"currency": invoice["currency"], "default_tax_rates": []}
    sums = invoicing.totals(subscription, lines, [], invoice["starting_balance"])
    assert {name: sums[name] for name in SUMS} == {name: invoice[name] for name in SUMS}
    for line in lines:
        if line["discountable"] and line["amount"]:  # a whole period, and no trial
            price = OBJECTS[line["pricing"]["price_details"]["price"]]
            assert line["amount"] == invoicing.amount_of(price, line["quantity"], line["currency"])
            start = line["period"]["start"]
            assert line["period"]["end"] == invoicing.end_of_period(start, price, start)


def test_there_are_recorded_changes_of_both_kinds() -> None:
    assert len(list(recorded_changes())) >= 5


def test_downgrade_and_the_renewal_after_it_are_the_recorded_invoice(world: StripeWorld) -> None:
    recording = recordings.load("downgrade")
    world.add(recording)
    param = next(iter(p for p in recorded_changes() if str(p.id).startswith("downgrade")))
    before, after, at = param.values
    cycle = next(item for item in recording.objects.values() if item.get("billing_reason") == "subscription_cycle")
    for item in list(world.objects.values()):
        if item["object"] == "invoiceitem":
            world.forget(item["id"])
    world.put(before)
    held = world.objects[before["id"]]
    wanted = [{"id": item["id"], "price": item["price"]["id"]} for item in after["items"]["data"]]
    change = changes.reckon(world.objects, held, {"items": wanted}, now=at)
    upcoming = changes.upcoming(world.objects, change)
    world._bill(held | change.subscription, change, at=at)
    held.update(change.subscription)
    renewed = world.renew(held["id"])
    for invoice in (upcoming, renewed):
        assert of_lines(invoice["lines"]["data"]) == of_lines(cycle["lines"]["data"])
        assert {name: invoice[name] for name in SUMS} == {name: cycle[name] for name in SUMS}
    assert changes.waiting_items(world.objects, held["id"]) == []


def test_months_keep_their_day_where_they_have_it() -> None:
    monthly = {"recurring": {"interval": "month", "interval_count": 1}}
    anchor = start = 1769817600  # 2026-01-31
    days = []
    for _ in range(4):
        start = invoicing.end_of_period(start, monthly, anchor)
        days.append(start)
    assert days == [1772236800, 1774915200, 1777507200, 1780185600]  # 28 February, 31 March, 30 April, 31 May


def test_upcoming_invoice_of_what_ends_is_none() -> None:
    subscription = next(item for item in ALL if item["object"] == "subscription" and item["status"] == "active")
    with pytest.raises(RefusalError) as told:
        changes.upcoming(OBJECTS, Change(subscription | {"cancel_at_period_end": True}))
    assert told.value.body["error"]["code"] == "invoice_upcoming_none"
