"""What is overdue, what became of what failed, and which cards fail next, whatever order the events came in."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import OpenInvoice, PaymentCase
from billing.services import dunning, notes
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support import factories
from tests.support.event_stream import EventStream, feed
from tests.support.sql import query, scalar

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
RECOVERY = (
    "SELECT code, failed, recovered, lost, open, failed_cents, recovered_cents, lost_cents, open_cents"
    " FROM v_payment_recovery ORDER BY failed_cents DESC, code"
)


def at_risk(*names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in query("SELECT * FROM v_payments_at_risk ORDER BY number")]


def recovery() -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in query(RECOVERY)]


def test_row_says_what_is_owed_why_and_what_is_at_stake() -> None:
    row = factories.open_invoice()
    assert at_risk("user_id", "email", "stripe_invoice_id", "amount_due_cents", "mrr_cents", "failure_code") == [
        (row.user_id, row.user.email, row.stripe_invoice_id, 2900, 2900, "card_declined")
    ]
    assert at_risk("reason", "attempt_count", "days_overdue", "owner", "last_contact_at", "is_extended") == [
        ("Not enough money", 1, 3, None, None, None)
    ]


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"status": "uncollectible"}, 0),
        ({"status": "draft"}, 0),
        ({"overdue_since": None, "attempt_count": 0}, 0),
        ({"overdue_since": None, "due_at": timezone.now() + DAY}, 0),
        ({"overdue_since": None, "due_at": timezone.now() - 2 * DAY}, 1),  # nobody told that the day passed
    ],
)
def test_only_what_can_be_collected_and_is_late_is_at_risk(values: dict[str, Any], rows: int) -> None:
    factories.open_invoice(**values)
    assert len(at_risk("id")) == rows


def test_debit_on_its_way_is_not_at_risk() -> None:
    row = factories.open_invoice()
    debit = factories.payment(row.user, stripe_invoice_id=row.stripe_invoice_id, status="pending", paid_at=None)
    assert at_risk("id") == []
    debit.status = "failed"
    debit.save(update_fields=["status"])
    assert len(at_risk("id")) == 1


@pytest.mark.parametrize(
    ("values", "mrr"), [({}, 2900), ({"status": "unpaid"}, 0), ({"status": "past_due", "is_duplicate": True}, 0)]
)
def test_what_does_not_count_in_mrr_is_not_at_stake(values: dict[str, Any], mrr: int) -> None:
    subscription = factories.subscription(**{"status": "past_due"} | values)
    factories.open_invoice(subscription)
    assert at_risk("mrr_cents") == [(mrr,)]


def test_time_that_was_given_owner_and_contact_are_shown_and_end() -> None:
    row = factories.open_invoice()
    dunning.give_until(row, datetime.now(UTC).date() + DAY, actor="ada", reason="Pays on Friday")
    case = PaymentCase.objects.get()
    assert at_risk("owner", "is_extended", "last_contact_at") == [("ada", True, case.extended_at)]
    assert scalar("SELECT value FROM v_system_health WHERE check_name = 'revenue_at_risk'") == 0
    PaymentCase.objects.update(extended_at=case.extended_at - DAY)
    note = notes.add(row.user, author="bob", body="Called, no answer")
    assert at_risk("last_contact_at") == [(note.created_at,)]
    PaymentCase.objects.update(extended_until_on=datetime.now(UTC).date() - DAY)
    assert at_risk("is_extended") == [(False,)]
    assert scalar("SELECT value FROM v_system_health WHERE check_name = 'revenue_at_risk'") == 100


def test_each_currency_counts_by_its_paying_customers() -> None:
    for number in range(3):
        row = factories.subscription(status="past_due" if number == 0 else "active", price_cents=100 * (number + 1))
        if number == 0:
            factories.open_invoice(row)
            factories.open_invoice(row)  # of one customer: counts once
    factories.open_invoice(factories.subscription(status="past_due", currency="jpy", price_cents=3000), currency="jpy")
    # 100 of 600 of three customers, and all of one.
    expected = round(100 * (3 * 100 / 600 + 1) / 4, 2)
    found = query("SELECT value, message FROM v_system_health WHERE check_name = 'revenue_at_risk'")[0]
    assert float(found["value"]) == expected
    assert found["message"].startswith("Paying customers with overdue invoices: 2 of 4; the oldest since 20")


# --- what became of what failed


def failed(invoice: str, code: str = "insufficient_funds", **values: Any) -> Any:
    said = {"status": "failed", "paid_at": None, "failure_code": "card_declined", "decline_code": code}
    return factories.payment(stripe_invoice_id=invoice, **said | values)


def test_failed_is_recovered_lost_and_open_together() -> None:
    now = timezone.now()
    for number, days in enumerate((1, 3)):
        first = failed(f"in_back{number}", created_at=now - days * DAY)
        failed(f"in_back{number}", "expired_card", user=first.user, created_at=now - days * DAY + DAY / 2)
        factories.payment(first.user, stripe_invoice_id=f"in_back{number}", paid_at=now)
    failed("in_gone")
    failed("in_gone_too", "expired_card", currency="eur")
    failed(factories.open_invoice().stripe_invoice_id)
    failed(factories.open_invoice(status="uncollectible").stripe_invoice_id)
    processing = failed("in_debit")
    factories.payment(processing.user, stripe_invoice_id="in_debit", status="pending", paid_at=None)
    assert recovery() == [
        ("insufficient_funds", 6, 2, 2, 2, 6 * 2900, 2 * 2900, 2 * 2900, 2 * 2900),
        ("expired_card", 1, 0, 1, 0, 2900, 0, 2900, 0),
    ]
    assert scalar("SELECT mean_days FROM v_payment_recovery WHERE code = 'insufficient_funds'") == 2


def test_out_of_band_payment_recovers_an_invoice() -> None:
    row = failed("in_wire")
    factories.payment(row.user, stripe_invoice_id="in_wire", stripe_charge_id=None, paid_out_of_band=True)
    assert [each[1:5] for each in recovery()] == [(1, 1, 0, 0)]


def forward(events: list[Json]) -> list[Json]:
    return events


def backward(events: list[Json]) -> list[Json]:
    return events[::-1]


def shuffled(events: list[Json]) -> list[Json]:
    return random.Random(7).sample(events, len(events))


@pytest.mark.parametrize("order", [forward, backward, shuffled])
@pytest.mark.parametrize(
    ("name", "became"), [("payment_failed_then_recovered", (1, 0, 0)), ("payment_failed_then_canceled", (0, 1, 0))]
)
def test_recorded_failure_comes_and_goes_in_any_order(
    world: StripeWorld, name: str, became: tuple[int, int, int], order: Callable[[list[Json]], list[Json]]
) -> None:
    recording = recordings.load(name)
    world.add(recording)
    ends = 1 + next(at for at, event in enumerate(recording.events) if event["type"] == "invoice.payment_failed")
    ends = max(ends, 1 + next(at for at, event in enumerate(recording.events) if is_past_due(event)))
    final = {object_id: dict(world.objects[object_id]) for object_id in recording.objects}
    for event in recording.events[:ends]:
        if event["data"]["object"].get("id") in final:
            world.put(final[event["data"]["object"]["id"]] | event["data"]["object"])
    for object_id, item in recording.objects.items():  # what happened later
        if item["object"] == "charge" and item["created"] > recording.events[ends - 1]["created"]:
            world.forget(object_id)
    feed(order(recording.events[:ends]))
    assert at_risk("decline_code", "reason", "card_last4") == [
        ("generic_decline", "The bank declined and does not say why", "0341")
    ]
    assert counts() == (1, 0, 0, 1)
    for item in final.values():
        world.put(item)
    feed(order(recording.events[ends:]))
    assert at_risk("id") == []
    assert counts() == (1, *became)


def is_past_due(event: Json) -> bool:
    return event["type"] == "customer.subscription.updated" and event["data"]["object"]["status"] == "past_due"


def counts() -> tuple[int, ...]:
    """Failed, recovered, lost and open."""
    (row,) = query(
        "SELECT count(*) AS failed, count(*) FILTER (WHERE outcome = 'recovered') AS recovered,"
        " count(*) FILTER (WHERE outcome = 'lost') AS lost, count(*) FILTER (WHERE outcome = 'open') AS open"
        " FROM failed_invoices"
    )
    return tuple(row.values())


# --- the cards


def card(stream: EventStream, payment_method_id: str, **values: Any) -> None:
    """A card at Stripe, announced."""
    known = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030} | values
    method = {
        "id": payment_method_id,
        "object": "payment_method",
        "created": 1,
        "customer": stream.customer["id"],
        "card": known,
        "type": "card",
        "livemode": False,
        "metadata": {},
        "billing_details": {},
    }
    stream.world.put(method)
    stream.announce("payment_method.attached", method)


def cards(*names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in query("SELECT * FROM charged_cards")]


def test_subscriptions_own_card_comes_before_the_customers_default(stream: EventStream) -> None:
    card(stream, "pm_default", last4="1111")
    stream.customer["invoice_settings"] = {"default_payment_method": "pm_default"}
    stream.announce("customer.updated", stream.customer)
    assert cards("last4") == [("1111",)]
    card(stream, "pm_own", last4="2222", exp_month=2, exp_year=2028)
    stream.update(default_payment_method="pm_own")
    assert cards("payment_method_id", "brand", "last4", "expires_on") == [("pm_own", "visa", "2222", date(2028, 2, 29))]


@pytest.mark.parametrize(
    "odd", [{"exp_month": 13}, {"exp_month": "x"}, {"exp_year": 20301}, {"exp_year": None}, {"exp_month": 1.5}]
)
def test_expiry_that_is_no_month_is_none(stream: EventStream, odd: dict[str, Any]) -> None:
    card(stream, "pm_own", **odd)
    stream.update(default_payment_method="pm_own")
    assert cards("last4", "expires_on") == [("4242", None)]


def test_where_no_payment_method_is_known_the_last_charge_tells(stream: EventStream) -> None:
    query("UPDATE djstripe_customer SET stripe_data = stripe_data - 'invoice_settings'")
    told = stream.charge["payment_method_details"]["card"]
    assert cards("payment_method_id", "last4") == [(None, told["last4"])]


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({}, 1),
        ({"current_period_end": datetime(2027, 1, 31, 23, tzinfo=UTC)}, 0),  # the last day counts
        ({"cancel_at_period_end": True}, 0),
        ({"cancel_at": datetime(2027, 1, 15, tzinfo=UTC)}, 0),
        ({"collection_paused": "void"}, 0),
        ({"status": "unpaid"}, 0),
        ({"status": "trialing", "trial_end": datetime(2027, 1, 5, tzinfo=UTC)}, 0),
        ({"price_cents": 0}, 0),
    ],
)
def test_card_that_expires_before_the_next_charge_is_listed(
    stream: EventStream, values: dict[str, Any], rows: int
) -> None:
    card(stream, "pm_own", exp_month=1, exp_year=2027)
    stream.update(default_payment_method="pm_own")
    known = stream.row
    for name, value in ({"current_period_end": datetime(2027, 2, 1, tzinfo=UTC)} | values).items():
        setattr(known, name, value)
    known.save()
    assert len(query("SELECT * FROM v_expiring_cards")) == rows


def test_words_are_said_for_every_code_and_unknown_ones_stand_as_they_are() -> None:
    factories.open_invoice(decline_code=None, failure_code="expired_card", number="1")
    factories.open_invoice(decline_code="brand_new_code", number="2")
    factories.open_invoice(decline_code=None, failure_code=None, number="3")
    assert at_risk("reason") == [("The card has expired",), ("brand_new_code",), (None,)]
    assert OpenInvoice.objects.count() == 3
