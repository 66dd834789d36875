"""Any order, any number of copies, any interleaving with Stripe's own changes: the same rows in the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.models import Payment, StripeCustomer, Subscription, User, WebhookEvent
from billing.stripe.events import inbox, processing
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db
# Between them: cancellation, a second subscription, deletion, dispute, refund, failed payments and proration.
STREAMS = (
    "cancel_then_resubscribe",
    "customer_deleted",
    "dispute",
    "refund_partial",
    "payment_failed_then_recovered",
    "upgrade_prorated",
)
# The catalogue's events come first in every stream and are the same: one stream has them, the others do without.
CATALOGUE_EVENTS = 8
checked = settings(max_examples=3, deadline=None, derandomize=True, database=None)


def events_of(stream: recordings.Recording) -> list[Json]:
    return stream.events[0 if stream.name == STREAMS[0] else CATALOGUE_EVENTS :]


@contextmanager
def undone() -> Iterator[None]:
    """Forget what one example wrote."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def rows() -> dict[str, set[tuple]]:
    """What must not depend on the order: everything but ids and the moments of writing."""
    return {
        "users": set(User.objects.values_list("stripe_customer_id", "email", "name", "status")),
        "links": set(StripeCustomer.objects.values_list("pk", "is_primary", "ownership", "user__email")),
        "subscriptions": set(
            Subscription.objects.values_list(
                "user__stripe_customer_id",
                "stripe_customer_id",
                "stripe_subscription_id",
                "tier",
                "status",
                "price_cents",
                "quantity",
                "current_period_end",
                "monthly_request_limit",
                "is_duplicate",
            )
        ),
        "payments": set(
            Payment.objects.values_list(
                "user__stripe_customer_id", "stripe_charge_id", "amount_cents", "refunded_cents", "status", "paid_at"
            )
        ),
    }


def charged() -> int:
    """What our payments add up to; of no payment more was given back than was paid."""
    payments = list(Payment.objects.exclude(status="failed").values_list("amount_cents", "refunded_cents"))
    assert all(refunded <= amount for amount, refunded in payments)
    return sum(amount for amount, _ in payments)


def charged_by_stripe(stream: recordings.Recording) -> int:
    found = [item for item in stream.objects.values() if item["object"] == "charge" and item["status"] != "failed"]
    return sum(item["amount"] for item in found)


def drain() -> None:
    """Process what is left until nothing changes any more, as time would."""
    for _ in range(8):
        waiting = WebhookEvent.objects.filter(status__in=("pending", "failed"))
        waiting.update(next_retry_at=timezone.now())
        for event_id in list(waiting.values_list("stripe_event_id", flat=True)):
            processing.process(event_id)
        if not waiting.exists():
            return


@pytest.mark.parametrize("name", STREAMS)
def test_order_and_copies_do_not_matter(name: str, world: StripeWorld) -> None:
    stream = recordings.load(name)
    world.add(stream)
    with undone():
        for event in events_of(stream):
            inbox.store(event)
            processing.process(event["id"])
        ordered = rows()

    @checked
    @given(st.permutations(range(len(events_of(stream)))), st.integers(0, 4))
    def in_any_order(order: list[int], copies: int) -> None:
        with undone():
            for position in [*order, *order[:copies]]:
                event = events_of(stream)[position]
                inbox.store(event)
                inbox.reset([event["id"]])  # so that a copy is really processed again
                processing.process(event["id"])
                assert charged() <= charged_by_stripe(stream)
            assert rows() == ordered
            assert_reached(stream.expected)

    in_any_order()


@pytest.mark.parametrize("name", STREAMS)
def test_interleaving_with_stripes_own_changes_does_not_matter(name: str, world: StripeWorld) -> None:
    """Each event is processed at some moment after it happened, while Stripe's state is somewhere in between."""
    stream = recordings.load(name)
    events = events_of(stream)

    @checked
    @given(st.lists(st.integers(0, 12), min_size=len(events), max_size=len(events)), st.integers(0, 3))
    def however_late(lateness: list[int], ahead: int) -> None:
        due = sorted(range(len(events)), key=lambda position: position + lateness[position])
        with undone():
            _before_the_stream(world, stream)
            happened = 0
            for position in due:
                while happened < min(position + 1 + ahead, len(events)):
                    _happen(world, events[happened])
                    happened += 1
                inbox.store(events[position])
                processing.process(events[position]["id"])
                assert charged() <= charged_by_stripe(stream)
            drain()
            assert_reached(stream.expected)
            assert not WebhookEvent.objects.exclude(status="processed").exists()

    however_late()


def _before_the_stream(world: StripeWorld, stream: recordings.Recording) -> None:
    """What no event announces (accounts, balance transactions) is there from the start; the rest is not."""
    announced = {event["data"]["object"]["id"] for event in events_of(stream)}
    world.objects.clear()
    for object_id, item in stream.objects.items():
        if object_id not in announced:
            world.put(item)


def _happen(world: StripeWorld, event: Json) -> None:
    """Let Stripe's state be as the event says; the last event of an object leaves its final state."""
    item = event["data"]["object"]
    if event["type"] == "customer.deleted":
        item = {"id": item["id"], "object": "customer", "deleted": True}
    world.put(item)


class KilledError(BaseException):
    """Stands in for SIGKILL: nothing of ours may catch it."""


def test_kill_between_any_two_statements_is_repaired_by_the_next_attempt(world: StripeWorld) -> None:
    stream = recordings.load("upgrade_prorated")
    world.add(stream)
    event = next(event for event in stream.events if event["type"] == "customer.subscription.created")
    with undone():
        inbox.store(event)
        statements = _count_statements(lambda: processing.process(event["id"]))
        undisturbed = rows()
    assert statements > 50
    assert len(undisturbed["subscriptions"]) == 2
    for kill_at in range(1, statements + 1, 4):
        with undone():
            inbox.store(event)
            with pytest.raises(KilledError), connection.execute_wrapper(_killer(kill_at)):
                processing.process(event["id"])
            WebhookEvent.objects.filter(status="processing").update(
                processing_started_at=timezone.now() - timedelta(minutes=16)
            )
            assert processing.process(event["id"]) == "processed"
            assert rows() == undisturbed


def _count_statements(action: Callable[[], Any]) -> int:
    count = 0

    def counting(execute: Callable, sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal count
        count += 1
        return execute(sql, params, many, context)

    with connection.execute_wrapper(counting):
        action()
    return count


def _killer(kill_at: int) -> Callable:
    count = 0

    def killing(execute: Callable, sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal count
        count += 1
        if count == kill_at:
            raise KilledError
        return execute(sql, params, many, context)

    return killing
