"""Events that wait for somebody are tried again as soon as what they wait for has come, whoever brought it."""

import pytest

from billing.models import Subscription, UnmatchedCustomer, User, WebhookEvent
from billing.services import customers
from billing.stripe.events import processing
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support import factories
from tests.support.event_stream import EventStream, last_error
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(world: StripeWorld) -> EventStream:
    return EventStream(world)


def try_what_is_due() -> None:
    for event_id in WebhookEvent.objects.filter(status="failed").values_list("stripe_event_id", flat=True):
        processing.process(event_id)


def waiting() -> int:
    return WebhookEvent.objects.filter(status="failed").count()


def newcomer(stream: EventStream, email: str | None) -> Json:
    return stream.copy_of(stream.customer, id="cus_new", email=email, created=stream.customer["created"] + 1)


def test_customer_that_is_linked_at_stripe_brings_its_other_events_along(stream: EventStream) -> None:
    somebody = factories.customer(email=stream.customer["email"])
    stream.signed_up()
    assert waiting() == 3
    stream.customer["metadata"] = {"user_id": str(somebody.pk)}
    assert stream.announce("customer.updated", stream.customer) == "processed"
    try_what_is_due()
    assert waiting() == 0
    assert_reached(stream.recording.expected)
    assert not UnmatchedCustomer.objects.exists()


def test_address_that_its_owner_gave_up_is_free_for_who_waited(stream: EventStream) -> None:
    stream.signed_up()
    new = newcomer(stream, str(stream.customer["email"]).upper())
    assert stream.announce("customer.created", new) == "failed"
    stream.customer["email"] = "moved@example.com"
    stream.announce("customer.updated", stream.customer)
    try_what_is_due()
    assert User.objects.get(stripe_customer_id="cus_new").email == new["email"]
    assert not UnmatchedCustomer.objects.exists()


def test_addresses_that_move_on_may_arrive_in_either_order(stream: EventStream) -> None:
    stream.signed_up()
    other = newcomer(stream, "other@example.com")
    stream.announce("customer.created", other)
    other["email"], stream.customer["email"] = stream.customer["email"], "third@example.com"
    assert stream.announce("customer.updated", other) == "failed"
    assert "already belongs to another customer" in last_error()
    stream.announce("customer.updated", stream.customer)
    try_what_is_due()
    assert waiting() == 0
    assert User.objects.get(stripe_customer_id="cus_new").email == other["email"]


def test_who_signs_up_again_need_not_wait_for_the_old_customer_to_be_gone(stream: EventStream) -> None:
    stream.signed_up()
    assert stream.announce("customer.created", newcomer(stream, stream.customer["email"])) == "failed"
    stream.world.delete_customer(stream.customer["id"])
    stream.deliver(stream.world.events[-1])
    try_what_is_due()
    assert User.objects.get(stripe_customer_id="cus_new").status == "active"


@pytest.mark.parametrize("first", ["deletion", "return"])
def test_customer_comes_back_with_another_stripe_customer_after_the_first_was_deleted(
    stream: EventStream, first: str
) -> None:
    stream.signed_up()
    user = stream.user
    User.objects.filter(pk=user.pk).update(cognito_user_id="sub-1")
    stream.world.delete_customer(stream.customer["id"])
    deleted = stream.world.events[-1]
    back = newcomer(stream, user.email)
    back["metadata"] = {"user_id": str(user.pk)}
    created = stream.world.emit("customer.created", back)
    for event in (deleted, created) if first == "deletion" else (created, deleted):
        stream.deliver(event)
    try_what_is_due()
    user.refresh_from_db()
    assert (user.stripe_customer_id, user.status, user.email) == ("cus_new", "active", back["email"])
    assert Subscription.objects.get(user=user, status__in=Subscription.LIVE).tier == "free"
    # What comes late of the first customer stays with its user and revives nothing.
    for event in (stream.recording.events[-1] | {"id": "evt_l1"}, deleted | {"id": "evt_l2"}):
        assert stream.deliver(event) == "processed"
    stream.charge.update(amount_refunded=stream.charge["amount"], refunded=True)
    assert stream.announce("charge.refunded", stream.charge) == "processed"
    assert user.payments.get().status == "refunded"
    assert User.objects.count() == 1


def test_support_may_link_another_customer_to_who_lost_theirs(stream: EventStream) -> None:
    stream.signed_up()
    user = stream.user
    stream.world.delete_customer(stream.customer["id"])
    stream.deliver(stream.world.events[-1])
    newcomer(stream, "back@example.com")
    customers.link_customer("cus_new", user, actor="ada", reason="came back")
    user.refresh_from_db()
    assert (user.status, user.email) == ("active", "back@example.com")
    assert user.subscriptions.get(status="active").tier == "free"


def test_change_of_case_gives_no_address_up(stream: EventStream) -> None:
    stream.signed_up()
    assert stream.announce("customer.created", newcomer(stream, stream.customer["email"])) == "failed"
    stream.customer["email"] = str(stream.customer["email"]).upper()
    stream.announce("customer.updated", stream.customer)
    try_what_is_due()
    assert waiting() == 1


def test_price_that_names_its_tier_at_stripe_releases_what_waited_for_it(stream: EventStream) -> None:
    named = stream.world.objects[stream.item["price"]["id"]]
    tier = named["metadata"]
    for price in (named, stream.item["price"]):
        price.update(metadata={}, lookup_key=None)
    stream.signed_up()
    assert waiting() == 1
    for price in (named, stream.item["price"]):
        price["metadata"] = tier
    assert stream.announce("price.updated", named) == "processed"
    try_what_is_due()
    assert_reached(stream.recording.expected)


def test_unmatched_customer_that_was_deleted_waits_for_nobody(stream: EventStream) -> None:
    factories.customer(email=stream.customer["email"])
    stream.signed_up()
    assert UnmatchedCustomer.objects.exists()
    stream.world.delete_customer(stream.customer["id"])
    stream.deliver(stream.world.events[-1])
    assert not UnmatchedCustomer.objects.exists()


def test_subscription_ends_though_nobody_claims_its_price(stream: EventStream) -> None:
    stream.signed_up()
    stream.item["price"] = stream.item["price"] | {"id": "price_new", "metadata": {}, "lookup_key": None}
    assert stream.update() == "failed"
    assert stream.live_tier() == "starter"
    ended = stream.subscription["created"] + 60
    assert stream.update(status="canceled", canceled_at=ended, ended_at=ended) == "processed"
    assert (stream.row.status, stream.row.tier, stream.live_tier()) == ("canceled", "starter", "free")


@pytest.mark.parametrize("unknown", [True, False])
def test_deletion_does_not_wait_for_a_subscription(stream: EventStream, unknown: bool) -> None:
    stream.signed_up()
    stream.item["price"].update(id="price_new", metadata={}, lookup_key=None)
    stream.world.delete_customer(stream.customer["id"])
    if unknown:
        stream.world.forget(stream.subscription["id"])
    assert stream.deliver(stream.world.events[-1]) == "processed"
    user = User.objects.get(stripe_customer_id=stream.customer["id"])
    assert (user.status, user.email) == ("deleted", None)
    assert not Subscription.objects.filter(user=user, status__in=Subscription.LIVE).exists()


def test_missing_customer_is_named(world: StripeWorld) -> None:
    stream = EventStream(world)
    world.forget(stream.customer["id"])
    stream.deliver(stream.recording.events[-1])
    assert last_error() == f"Stripe does not know the customer of subscription {stream.subscription['id']}."
