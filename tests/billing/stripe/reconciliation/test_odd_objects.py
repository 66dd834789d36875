"""An object at Stripe that does not fit is explained at its difference, told to somebody, and stops no other."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from billing.models import Difference, Subscription, User
from billing.services import reconciliation
from billing.services.subscriptions import cancel_subscription
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support.event_stream import EventStream, deliver_new

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "routine"}
SUBSCRIPTIONS: dict[str, Callable[[Json, Json], Any]] = {
    "quantity beyond 64 bits": lambda sub, item: item.update(quantity=10**20),
    "quantity below zero": lambda sub, item: item.update(quantity=-1),
    "quantity that is text": lambda sub, item: item.update(quantity="many"),
    "no price": lambda sub, item: item.update(price=None),
    "amount beyond 64 bits": lambda sub, item: item["price"].update(unit_amount=10**19, unit_amount_decimal=None),
    "unknown status": lambda sub, item: sub.update(status="frozen"),
    "no items": lambda sub, item: sub.update(items={"object": "list", "data": [], "has_more": False}),
    "items missing": lambda sub, item: sub.pop("items"),
    "unknown currency": lambda sub, item: sub.update(currency="usdx"),
    "unknown interval": lambda sub, item: item["price"].update(
        recurring=item["price"]["recurring"] | {"interval": "decade"}
    ),
    "year 33658": lambda sub, item: item.update(current_period_end=10**12),
    "period that ends before it starts": lambda sub, item: item.update(current_period_end=1),
    "created in the year 292277026596": lambda sub, item: sub.update(created=2**63 - 1),
    "neither live nor test": lambda sub, item: (sub.update(livemode="x"), item.update(quantity=2)),
    "item whose id is empty": lambda sub, item: item.update(id="", quantity=2),
}
CHARGES: dict[str, Callable[[Json], Any]] = {
    "amount beyond 64 bits": lambda charge: charge.update(amount=2**63, amount_captured=2**63),
    "negative amount": lambda charge: charge.update(amount=-1, amount_captured=-1),
    "more refunded than charged": lambda charge: charge.update(amount_refunded=10**9),
    "no amount": lambda charge: charge.update(amount=None),
    "unknown currency": lambda charge: charge.update(currency="DOLLARS"),
    "year 33658": lambda charge: charge.update(created=10**12),
    "neither live nor test": lambda charge: charge.update(livemode=[None], receipt_url="https://x.test"),
}
INVOICES: dict[str, Callable[[Json], Any]] = {
    "amount beyond 64 bits": lambda invoice: invoice.update(amount_remaining=2**63),
    "unknown currency": lambda invoice: invoice.update(currency="DOLLARS"),
    "year 33658": lambda invoice: invoice.update(next_payment_attempt=10**12),
    "number of 5,000 characters": lambda invoice: invoice.update(number="9" * 5000),
    "attempts below zero": lambda invoice: invoice.update(attempt_count=-1),
    "attempts beyond 64 bits": lambda invoice: invoice.update(attempt_count=2**63),
}


@pytest.fixture
def other(stream: EventStream) -> User:
    """A second customer, whose name here is wrong."""
    customer = stream.copy_of(stream.customer, id="cus_other", email="other@example.com", metadata={}, name="Right")
    stream.announce("customer.created", customer)
    user = User.objects.get(stripe_customer_id="cus_other")
    User.objects.filter(pk=user.pk).update(name="Wrong")
    return user


def reconciled(stream: EventStream, other: User) -> list[Difference]:
    """The open differences after a run that repairs, which healed the other customer."""
    stream.world.events.clear()
    run = reconciliation.run(repair=True, **WHO)
    assert (run.status, run.error) == ("finished", None)
    other.refresh_from_db()
    assert other.name == "Right"
    return list(run.differences.filter(status="open"))


def told() -> bool:
    """Whether somebody is told."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM v_alerts WHERE alert_type = 'unrepaired_differences'")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("odd", SUBSCRIPTIONS)
def test_odd_subscription_is_explained_and_the_others_are_repaired(
    stream: EventStream, other: User, signed_in: Callable[[str], Client], odd: str
) -> None:
    User.objects.filter(pk=stream.user.pk).update(name="Wrong")
    SUBSCRIPTIONS[odd](stream.subscription, stream.item)
    still_open = reconciled(stream, other)
    assert {row.stripe_id for row in still_open} == {stream.subscription["id"]}
    for row in still_open:
        assert row.note
    assert told()
    assert stream.user.name == stream.customer["name"]
    assert stream.row.status == "active"

    page = f"/admin/billing/user/{stream.user.pk}/do/sync/"
    answer = signed_in("support").post(page, {"reason": "ticket 1", "confirmed": "yes"}, follow=True)
    assert answer.status_code == 200
    assert "Synced, but for this" in answer.content.decode()


@pytest.mark.parametrize("odd", SUBSCRIPTIONS)
def test_odd_subscription_can_be_canceled(stream: EventStream, odd: str) -> None:
    SUBSCRIPTIONS[odd](stream.subscription, stream.item)
    cancel_subscription(stream.row, at_period_end=False, **WHO)
    stream.subscription.update(status="canceled", ended_at=stream.subscription.get("ended_at") or 1_790_000_000)
    deliver_new(stream.world)
    assert stream.row.status == "canceled"
    assert stream.live_tier() == "free"


@pytest.mark.parametrize("odd", CHARGES)
def test_odd_charge_is_explained_and_the_others_are_repaired(stream: EventStream, other: User, odd: str) -> None:
    CHARGES[odd](stream.charge)
    still_open = reconciled(stream, other)
    assert {row.stripe_id for row in still_open} == {stream.charge["id"]}
    assert all("cannot be stored: " in str(row.note) for row in still_open)
    assert told()


@pytest.mark.parametrize("odd", INVOICES)
def test_odd_invoice_is_explained_and_stops_neither_its_subscription_nor_others(
    stream: EventStream, other: User, odd: str
) -> None:
    stream.invoice.update(status="open", amount_remaining=2900)
    INVOICES[odd](stream.invoice)
    User.objects.filter(pk=stream.user.pk).update(name="Wrong")
    still_open = reconciled(stream, other)
    assert {row.stripe_id for row in still_open} == {stream.invoice["id"]}
    assert all("cannot be stored: " in str(row.note) for row in still_open)
    assert told()
    assert stream.user.name == stream.customer["name"]
    assert stream.update(status="past_due") == "processed"
    assert stream.row.status == "past_due"


def test_report_alone_explains_too(stream: EventStream, other: User) -> None:
    stream.item["quantity"] = 10**20
    stream.world.events.clear()
    run = reconciliation.run(**WHO)
    note = run.differences.get(field="quantity").note
    assert note == (
        f"subscription {stream.subscription['id']} cannot be stored: quantity 100000000000000000000: Ensure this value"
        " is less than or equal to 9223372036854775807."
    )
    assert told()
    stream.item["quantity"] = 2
    assert reconciliation.run(repair=True, **WHO).status == "finished"
    assert not told()
    assert stream.row.quantity == 2


def test_quantity_is_as_wide_as_at_stripe(stream: EventStream) -> None:
    stream.item["quantity"] = 3_000_000_000
    assert stream.announce("customer.subscription.updated", stream.subscription) == "processed"
    assert stream.row.quantity == 3_000_000_000
    assert stream.row.price_cents == 2900 * 3_000_000_000
    with connection.cursor() as cursor:
        cursor.execute("SELECT mrr_cents FROM v_revenue_metrics")
        assert cursor.fetchone()[0] == 2900 * 3_000_000_000


def test_customer_for_whom_stripe_does_not_answer_stops_no_other(
    stream: EventStream, other: User, stripe_server: StripeServer
) -> None:
    User.objects.filter(pk=stream.user.pk).update(name="Wrong")
    path = f"/v1/customers/{stream.customer['id']}"
    stripe_server.intercept = lambda _, asked: (500, {"error": {"message": "oops"}}, {}) if asked == path else None
    still_open = reconciled(stream, other)
    assert [(row.stripe_id, "oops" in str(row.note)) for row in still_open] == [(stream.customer["id"], True)]


def test_stripe_that_answers_for_nobody_fails_the_run(
    stream: EventStream, stripe_server: StripeServer, world: StripeWorld
) -> None:
    for number in range(4):
        stream.copy_of(stream.customer, id=f"cus_{number}", email=f"{number}@example.com", metadata={})
    world.events.clear()
    stripe_server.intercept = lambda _, path: (
        (500, {"error": {"message": "oops"}}, {}) if path.startswith("/v1/customers/") else None
    )
    run = reconciliation.run(repair=True, **WHO)
    assert (run.status, run.phase, "oops" in str(run.error)) == ("failed", "customers", True)
    assert not Subscription.objects.filter(user__stripe_customer_id="cus_0").exists()
