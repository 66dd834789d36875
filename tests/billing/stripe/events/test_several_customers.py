"""Several customers at Stripe of one user, and what says whose a customer is."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now

from billing.models import (
    Difference,
    Payment,
    StripeCustomer,
    Subscription,
    UnmatchedCustomer,
    User,
    WebhookEvent,
)
from billing.services import accounts
from billing.stripe.events import inbox, processing
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json
from tests.support import factories
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream(world: StripeWorld) -> EventStream:
    return EventStream(world)


def second_customer(stream: EventStream, **values: Any) -> Json:
    """Another customer at Stripe, with a subscription `sub_b` and a charge `ch_b`; `values` are the customer's."""
    created = stream.customer["created"] + 1
    customer = stream.copy_of(stream.customer, **({"id": "cus_b", "created": created} | values))
    stream.copy_of(stream.subscription, id="sub_b", customer="cus_b", created=stream.subscription["created"] + 1)
    stream.copy_of(stream.charge, id="ch_b", customer="cus_b", payment_intent=None, invoice=None)
    return customer


def checkout(stream: EventStream, **values: Any) -> Json:
    session = {"id": "cs_test_1", "object": "checkout.session", "livemode": False, "payment_status": "paid"}
    session |= {"client_reference_id": None, "customer": stream.customer["id"], "created": 1} | values
    stream.world.put(session)
    return stream.world.objects[session["id"]]


def try_what_is_due() -> None:
    due = WebhookEvent.objects.filter(status="failed", next_retry_at__lte=Now())
    for event_id in list(due.values_list("stripe_event_id", flat=True)):
        processing.process(event_id)


def rows() -> tuple[Any, ...]:
    """What must not depend on the order."""
    user = "user__email", "user__status"
    return (
        set(User.objects.values_list("email", "name", "status", "stripe_customer_id")),
        set(StripeCustomer.objects.values_list("pk", "is_primary", "ownership", *user)),
        set(Subscription.objects.values_list("stripe_subscription_id", "status", "tier", "is_duplicate", *user)),
        set(Payment.objects.values_list("stripe_charge_id", "status", "amount_cents", *user)),
        UnmatchedCustomer.objects.count(),
        set(WebhookEvent.objects.values_list("status", flat=True)),
    )


def in_every_order(events: list[Json], before: Callable[[], object]) -> tuple[Any, ...]:
    """The rows that the events end in, whatever their order."""
    found = []
    for order in permutations(events):
        with transaction.atomic():
            before()
            for event in order:
                inbox.store(event)
                processing.process(event["id"])
            try_what_is_due()
            found.append(rows())
            transaction.set_rollback(True)
    assert all(each == found[0] for each in found)
    return found[0]


def test_metadata_links_a_second_customer_beside_the_first(stream: EventStream) -> None:
    stream.signed_up()
    user = stream.user
    second = second_customer(stream, email="other@example.com", metadata={"user_id": str(user.pk)})
    assert stream.announce("customer.created", second) == "processed"
    for kind, object_id in (("customer.subscription.created", "sub_b"), ("charge.succeeded", "ch_b")):
        assert stream.announce(kind, stream.world.objects[object_id]) == "processed"
    user.refresh_from_db()
    assert (user.stripe_customer_id, user.email) == (stream.customer["id"], stream.customer["email"])
    assert {row.is_duplicate for row in user.subscriptions.filter(status="active")} == {False, True}
    assert set(user.payments.values_list("stripe_customer_id", flat=True)) == {stream.customer["id"], "cus_b"}


def test_customers_of_one_user_may_come_in_any_order(stream: EventStream) -> None:
    owner = factories.customer(email=stream.customer["email"])
    metadata = {"user_id": str(owner.pk)}
    stream.customer["metadata"] = metadata
    second = second_customer(stream, metadata=metadata, name="Second")
    world = stream.world
    events = [
        world.emit("customer.created", stream.customer),
        world.emit("customer.created", second),
        world.emit("customer.subscription.created", stream.subscription),
        world.emit("customer.subscription.created", world.objects["sub_b"]),
    ]
    users, links, *_ = in_every_order(events, lambda: None)
    assert users == {(owner.email, stream.customer["name"], "active", stream.customer["id"])}
    assert {(link[0], link[1]) for link in links} == {(stream.customer["id"], True), ("cus_b", False)}


@pytest.mark.parametrize("email", ["same", "other@example.com"])
@pytest.mark.parametrize("by", ["subscription", "checkout"])
def test_sale_links_a_customer_to_who_has_none_in_any_order(stream: EventStream, by: str, email: str) -> None:
    owner = factories.customer(email=stream.customer["email"] if email == "same" else email)
    session = checkout(stream, client_reference_id=str(owner.pk) if by == "checkout" else None)
    if by == "subscription":
        stream.subscription["metadata"] = {"user_id": str(owner.pk)}
    world = stream.world
    events = [
        world.emit("customer.created", stream.customer),
        world.emit("customer.subscription.created", stream.subscription),
        world.emit("charge.succeeded", stream.charge),
        world.emit("checkout.session.completed", session),
    ]
    users, links, subscriptions, payments, unmatched, statuses = in_every_order(events, lambda: None)
    assert len(users) == len(links) == len(payments) == 1
    assert (unmatched, statuses) == (0, {"processed"})
    assert {row[4] for row in subscriptions} == {row[3] for row in payments} == {stream.customer["email"]}
    assert {(row[0], row[1]) for row in subscriptions} == {(None, "canceled"), (stream.subscription["id"], "active")}


def test_checkout_that_was_not_paid_links_nobody(stream: EventStream) -> None:
    owner = factories.customer()
    session = checkout(stream, client_reference_id=str(owner.pk), payment_status="unpaid")
    stream.signed_up()
    stream.announce("checkout.session.completed", session)
    assert not owner.stripe_customers.exists()
    session["payment_status"] = "paid"
    stream.announce("checkout.session.async_payment_succeeded", session)
    assert owner.stripe_customers.get().pk == stream.customer["id"]
    assert User.objects.get() == owner


def test_sale_takes_no_customer_from_whom_it_is_known_to_be(stream: EventStream) -> None:
    other = factories.customer()
    stream.signed_up()
    factories.issued_key(stream.user)
    stream.update(metadata={"user_id": str(other.pk)})
    assert stream.user != other
    StripeCustomer.objects.update(ownership="known")
    stream.announce("checkout.session.completed", checkout(stream, client_reference_id=str(other.pk)))
    assert not other.stripe_customers.exists()


def test_sale_names_nobody_who_has_a_customer_that_lives(stream: EventStream) -> None:
    other = factories.customer(stripe_customer_id="cus_other")
    stream.subscription["metadata"] = {"user_id": str(other.pk)}
    stream.signed_up()
    assert stream.user != other
    assert other.stripe_customers.count() == 1


def test_metadata_changed_later_is_a_difference_that_goes_when_it_is_changed_back(stream: EventStream) -> None:
    other = factories.customer()
    stream.signed_up()
    user = stream.user
    stream.customer["metadata"] = {"user_id": str(other.pk)}
    assert stream.announce("customer.updated", stream.customer) == "processed"
    difference = Difference.objects.get()
    assert (difference.kind, difference.stripe_id, difference.local_value, difference.stripe_value) == (
        "other_owner",
        stream.customer["id"],
        str(user.pk),
        str(other.pk),
    )
    assert difference.note
    assert stream.user == user
    stream.customer["metadata"] = {"user_id": str(user.pk)}
    stream.announce("customer.updated", stream.customer)
    difference.refresh_from_db()
    assert difference.status == "gone"


def test_metadata_that_comes_right_after_the_customer_is_followed(stream: EventStream) -> None:
    owner = factories.customer()
    stream.announce("customer.created", stream.customer)
    presumed = stream.user
    stream.customer["metadata"] = {"user_id": str(owner.pk)}
    stream.announce("customer.updated", stream.customer)
    assert stream.user == owner
    assert not User.objects.filter(pk=presumed.pk).exists()


@pytest.mark.parametrize("first", ["deletion", "return"])
def test_suspended_customer_stays_suspended_with_another_stripe_customer(stream: EventStream, first: str) -> None:
    stream.signed_up()
    user = stream.user
    accounts.suspend(user, actor="ada", reason="fraud")
    stream.world.delete_customer(stream.customer["id"])
    deleted = stream.world.events[-1]
    back = second_customer(stream, metadata={"user_id": str(user.pk)})
    created = stream.world.emit("customer.created", back)
    for event in (deleted, created) if first == "deletion" else (created, deleted):
        assert stream.deliver(event) == "processed"
    user.refresh_from_db()
    assert (user.status, user.stripe_customer_id) == ("suspended", "cus_b")
    accounts.reactivate(user, actor="ada", reason="a mistake")
    user.refresh_from_db()
    assert (user.status, user.suspended_at) == ("active", None)


def test_user_who_loses_one_of_two_customers_goes_on_with_the_other(stream: EventStream) -> None:
    stream.signed_up()
    user = stream.user
    second = second_customer(stream, email="second@example.com", metadata={"user_id": str(user.pk)})
    stream.announce("customer.created", second)
    stream.announce("customer.subscription.created", stream.world.objects["sub_b"])
    stream.world.delete_customer(stream.customer["id"])
    stream.deliver(stream.world.events[-1])
    user.refresh_from_db()
    assert (user.status, user.stripe_customer_id, user.email) == ("active", "cus_b", "second@example.com")
    assert user.subscriptions.get(status="active").stripe_subscription_id == "sub_b"
    assert user.payments.exists()
    assert StripeCustomer.objects.get(pk=stream.customer["id"]).deleted_at


def test_events_of_an_unlinked_customer_wait_however_often_they_are_tried(stream: EventStream) -> None:
    factories.customer(email=stream.customer["email"])
    stream.signed_up()
    for _ in range(10):
        WebhookEvent.objects.update(next_retry_at=None)
        try_what_is_due()
        for event_id in WebhookEvent.objects.values_list("stripe_event_id", flat=True):
            processing.process(event_id)
    assert set(WebhookEvent.objects.values_list("status", "attempts")) == {("failed", 1)}
    assert {event.waits_for[0] for event in WebhookEvent.objects.all()} == {stream.customer["id"]}
    assert UnmatchedCustomer.objects.count() == 1
