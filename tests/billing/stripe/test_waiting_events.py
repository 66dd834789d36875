"""Events that wait for somebody are tried again as soon as what they wait for has come, whoever brought it."""

from typing import Any

import pytest

from billing.demo.stripe_world import StripeWorld
from billing.models import Subscription, UnmatchedCustomer, User, WebhookEvent
from billing.services import customers
from billing.stripe import processing
from tests import factories
from tests.billing.stripe.expected import assert_reached
from tests.billing.stripe.story import Story, last_error

pytestmark = pytest.mark.django_db
Json = dict[str, Any]


@pytest.fixture
def story(world: StripeWorld) -> Story:
    return Story(world)


def try_what_is_due() -> None:
    for event_id in WebhookEvent.objects.filter(status="failed").values_list("stripe_event_id", flat=True):
        processing.process(event_id)


def waiting() -> int:
    return WebhookEvent.objects.filter(status="failed").count()


def newcomer(story: Story, email: str | None) -> Json:
    return story.copy_of(story.customer, id="cus_new", email=email, created=story.customer["created"] + 1)


def test_customer_that_is_linked_at_stripe_brings_its_other_events_along(story: Story) -> None:
    somebody = factories.customer(email=story.customer["email"])
    story.signed_up()
    assert waiting() == 3
    story.customer["metadata"] = {"user_id": str(somebody.pk)}
    assert story.announce("customer.updated", story.customer) == "processed"
    try_what_is_due()
    assert waiting() == 0
    assert_reached(story.recording.expected)
    assert not UnmatchedCustomer.objects.exists()


def test_address_that_its_owner_gave_up_is_free_for_who_waited(story: Story) -> None:
    story.signed_up()
    new = newcomer(story, str(story.customer["email"]).upper())
    assert story.announce("customer.created", new) == "failed"
    story.customer["email"] = "moved@example.com"
    story.announce("customer.updated", story.customer)
    try_what_is_due()
    assert User.objects.get(stripe_customer_id="cus_new").email == new["email"]
    assert not UnmatchedCustomer.objects.exists()


def test_addresses_that_move_on_may_arrive_in_either_order(story: Story) -> None:
    story.signed_up()
    other = newcomer(story, "other@example.com")
    story.announce("customer.created", other)
    other["email"], story.customer["email"] = story.customer["email"], "third@example.com"
    assert story.announce("customer.updated", other) == "failed"
    assert "already belongs to another user" in last_error()
    story.announce("customer.updated", story.customer)
    try_what_is_due()
    assert waiting() == 0
    assert User.objects.get(stripe_customer_id="cus_new").email == other["email"]


def test_who_signs_up_again_need_not_wait_for_the_old_customer_to_be_gone(story: Story) -> None:
    story.signed_up()
    assert story.announce("customer.created", newcomer(story, story.customer["email"])) == "failed"
    story.world.delete_customer(story.customer["id"])
    story.deliver(story.world.events[-1])
    try_what_is_due()
    assert User.objects.get(stripe_customer_id="cus_new").status == "active"


@pytest.mark.parametrize("first", ["deletion", "return"])
def test_user_comes_back_with_another_customer_after_the_first_was_deleted(story: Story, first: str) -> None:
    story.signed_up()
    user = story.user
    User.objects.filter(pk=user.pk).update(cognito_user_id="sub-1")
    story.world.delete_customer(story.customer["id"])
    deleted = story.world.events[-1]
    back = newcomer(story, user.email)
    back["metadata"] = {"user_id": str(user.pk)}
    created = story.world.emit("customer.created", back)
    for event in (deleted, created) if first == "deletion" else (created, deleted):
        story.deliver(event)
    try_what_is_due()
    user.refresh_from_db()
    assert (user.stripe_customer_id, user.status, user.email) == ("cus_new", "active", back["email"])
    assert Subscription.objects.get(user=user, status__in=Subscription.LIVE).tier == "free"
    # What comes late of the first customer stays with its user and revives nothing.
    for event in (story.recording.events[-1] | {"id": "evt_l1"}, deleted | {"id": "evt_l2"}):
        assert story.deliver(event) == "processed"
    story.charge.update(amount_refunded=story.charge["amount"], refunded=True)
    assert story.announce("charge.refunded", story.charge) == "processed"
    assert user.payments.get().status == "refunded"
    assert User.objects.count() == 1


def test_support_may_link_another_customer_to_who_lost_theirs(story: Story) -> None:
    story.signed_up()
    user = story.user
    story.world.delete_customer(story.customer["id"])
    story.deliver(story.world.events[-1])
    newcomer(story, "back@example.com")
    customers.link_customer("cus_new", user, actor="ada", reason="came back")
    user.refresh_from_db()
    assert (user.status, user.email) == ("active", "back@example.com")
    assert user.subscriptions.get(status="active").tier == "free"


def test_change_of_case_gives_no_address_up(story: Story) -> None:
    story.signed_up()
    assert story.announce("customer.created", newcomer(story, story.customer["email"])) == "failed"
    story.customer["email"] = str(story.customer["email"]).upper()
    story.announce("customer.updated", story.customer)
    try_what_is_due()
    assert waiting() == 1


def test_price_that_names_its_tier_at_stripe_heals_what_waited_for_it(story: Story) -> None:
    named = story.world.objects[story.item["price"]["id"]]
    tier = named["metadata"]
    for price in (named, story.item["price"]):
        price.update(metadata={}, lookup_key=None)
    story.signed_up()
    assert waiting() == 1
    for price in (named, story.item["price"]):
        price["metadata"] = tier
    assert story.announce("price.updated", named) == "processed"
    try_what_is_due()
    assert_reached(story.recording.expected)


def test_unmatched_customer_that_was_deleted_waits_for_nobody(story: Story) -> None:
    factories.customer(email=story.customer["email"])
    story.signed_up()
    assert UnmatchedCustomer.objects.exists()
    story.world.delete_customer(story.customer["id"])
    story.deliver(story.world.events[-1])
    assert not UnmatchedCustomer.objects.exists()


def test_subscription_ends_though_nobody_claims_its_price(story: Story) -> None:
    story.signed_up()
    story.item["price"] = story.item["price"] | {"id": "price_new", "metadata": {}, "lookup_key": None}
    assert story.update() == "failed"
    assert story.live_tier() == "starter"
    ended = story.subscription["created"] + 60
    assert story.update(status="canceled", canceled_at=ended, ended_at=ended) == "processed"
    assert (story.row.status, story.row.tier, story.live_tier()) == ("canceled", "starter", "free")


@pytest.mark.parametrize("unknown", [True, False])
def test_deletion_does_not_wait_for_a_subscription(story: Story, unknown: bool) -> None:
    story.signed_up()
    story.item["price"].update(id="price_new", metadata={}, lookup_key=None)
    story.world.delete_customer(story.customer["id"])
    if unknown:
        story.world.forget(story.subscription["id"])
    assert story.deliver(story.world.events[-1]) == "processed"
    user = User.objects.get(stripe_customer_id=story.customer["id"])
    assert (user.status, user.email) == ("deleted", None)
    assert not Subscription.objects.filter(user=user, status__in=Subscription.LIVE).exists()


@pytest.mark.parametrize("kind", ["customer", "product"])
def test_missing_part_is_named(world: StripeWorld, kind: str) -> None:
    story = Story(world)
    for item in [item for item in world.objects.values() if item["object"] == kind]:
        world.forget(item["id"])
    story.deliver(story.recording.events[-1])
    assert last_error() == f"Stripe does not know the {kind} of subscription {story.subscription['id']}."
