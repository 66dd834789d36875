"""Two customers of one user, processed at the same moment: one live subscription, one free row, nothing doubled."""

import pytest

from billing.models import StripeCustomer, Subscription
from billing.services import customers
from billing.stripe.events import inbox, processing
from demo.stripe.world import StripeWorld
from tests.support import factories
from tests.support.concurrently import at_once
from tests.support.event_stream import EventStream

pytestmark = pytest.mark.django_db(transaction=True)


def live(user_id: object) -> list[tuple[str | None, bool]]:
    found = Subscription.objects.filter(user_id=user_id, status__in=Subscription.LIVE)
    return sorted(found.values_list("stripe_subscription_id", "is_duplicate"), key=str)


def test_two_customers_of_one_user_at_once(world: StripeWorld) -> None:
    stream = EventStream(world)
    user = factories.customer(email=stream.customer["email"])
    stream.customer["metadata"] = {"user_id": str(user.pk)}
    ids = ["cus_0", "cus_1", "cus_2"]
    for number, customer_id in enumerate(ids):
        stream.copy_of(stream.customer, id=customer_id, created=stream.customer["created"] + number)
        stream.copy_of(stream.subscription, id=f"sub_{number}", customer=customer_id)

    def all_of(kind: str, prefix: str, **changes: object) -> None:
        events = []
        for number in range(len(ids)):
            world.objects[f"{prefix}_{number}"].update(changes)
            events.append(world.emit(kind, world.objects[f"{prefix}_{number}"]))
            inbox.store(events[-1])
        statuses = at_once(*(lambda event=event: processing.process(event["id"]) for event in events))
        assert statuses == ["processed"] * len(ids)

    all_of("customer.created", "cus")
    all_of("customer.subscription.created", "sub")
    assert [is_duplicate for _, is_duplicate in live(user.pk)] == [True, True, False]
    links = StripeCustomer.objects.filter(user=user)
    assert dict(links.values_list("pk", "is_primary")) == {"cus_0": True, "cus_1": False, "cus_2": False}
    ended = stream.subscription["created"] + 60
    all_of("customer.subscription.deleted", "sub", status="canceled", canceled_at=ended, ended_at=ended)
    assert live(user.pk) == [(None, False)]


def test_link_and_events_of_the_customer_at_once(world: StripeWorld) -> None:
    stream = EventStream(world)
    user = factories.customer(email=stream.customer["email"])
    events = [
        world.emit("customer.updated", stream.customer),
        world.emit("customer.subscription.updated", stream.subscription),
    ]
    for event in events:
        inbox.store(event)
    at_once(
        *(lambda event=event: processing.process(event["id"]) for event in events),
        lambda: customers.link_customer(stream.customer["id"], user, actor="ada", reason="asked"),
    )
    # What failed a moment too early is due at once.
    for event in events:
        processing.process(event["id"])
    assert live(user.pk) == [(stream.subscription["id"], False)]
    assert StripeCustomer.objects.get().user == user
