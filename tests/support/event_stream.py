"""A paying customer at Stripe whose objects a test may change, each change announced by an event."""

import copy
from collections.abc import Iterable
from typing import Any

from django_q.models import OrmQ

from billing import tasks
from billing.models import Payment, Subscription, User, WebhookEvent
from billing.stripe.events import inbox, processing
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json


class EventStream:
    """The signup of the recordings, alive: `customer`, `subscription`, `charge` and `invoice` are Stripe's."""

    def __init__(self, world: StripeWorld) -> None:
        self.world = world
        self.recording = recordings.load("signup_paid")
        world.add(self.recording)
        self.customer = self._only("customer")
        self.subscription = self._only("subscription")
        self.charge = self._only("charge")
        self.invoice = self._only("invoice")

    def _only(self, kind: str) -> Json:
        return next(item for item in self.world.objects.values() if item["object"] == kind)

    @property
    def item(self) -> Json:
        """The subscription's first item."""
        return self.subscription["items"]["data"][0]

    def signed_up(self) -> "EventStream":
        """Let the events happen here that have something to say to our tables."""
        for event in self.recording.events:
            if event["type"] in ("customer.created", "charge.succeeded", "customer.subscription.created"):
                self.deliver(event)
        return self

    def deliver(self, event: Json) -> str | None:
        """Store and process one event; returns its status."""
        inbox.store(event)
        return processing.process(event["id"])

    def announce(self, event_type: str, item: Json) -> str | None:
        """Let Stripe send an event about `item` and process it; returns its status."""
        return self.deliver(self.world.emit(event_type, item))

    def update(self, **changes: Any) -> str | None:
        """Change the subscription and announce it."""
        self.subscription.update(changes)
        return self.announce("customer.subscription.updated", self.subscription)

    def copy_of(self, item: Json, **changes: Any) -> Json:
        """Another object like `item` at Stripe, under the id in `changes`."""
        other = copy.deepcopy(item) | changes
        self.world.put(other)
        return self.world.objects[other["id"]]

    @property
    def user(self) -> User:
        return User.objects.get(stripe_customer_id=self.customer["id"])

    @property
    def row(self) -> Subscription:
        return Subscription.objects.get(stripe_subscription_id=self.subscription["id"])

    @property
    def payment(self) -> Payment:
        return Payment.objects.get(stripe_charge_id=self.charge["id"])

    def live_tier(self) -> str:
        """What the user may use now."""
        return Subscription.objects.get(user=self.user, status__in=Subscription.LIVE, is_duplicate=False).tier


def feed(events: Iterable[Json]) -> list[str | None]:
    """Store events in the inbox and process each once, in the given order; returns their statuses."""
    events = list(events)
    for event in events:
        inbox.store(event)
    return [processing.process(event["id"]) for event in events]


def deliver_new(world: StripeWorld) -> None:
    """Feed what Stripe has sent and nobody has stored yet."""
    known = set(WebhookEvent.objects.values_list("stripe_event_id", flat=True))
    feed(event for event in world.events if event["id"] not in known)


def process_pending() -> None:
    """What a worker does with the events that wait for it."""
    for event_id in WebhookEvent.objects.filter(status="pending").values_list("stripe_event_id", flat=True):
        processing.process(event_id)


def run_tasks() -> None:
    """What a worker does with the queue, until nothing is left: events, and customers to be brought in line."""
    while task := OrmQ.objects.order_by("pk").first():
        task.delete()
        if task.func() == "billing.tasks.resync_customer":
            tasks.resync_customer(*task.args())
        elif task.func() == inbox.TASK:
            processing.process(*task.args())


def last_error() -> str:
    """Why the only failed or ignored event is not processed."""
    return str(WebhookEvent.objects.get(last_error__isnull=False).last_error)


def price(world: StripeWorld, lookup_key: str) -> Json:
    """The catalogue's price with that lookup key."""
    return next(item for item in world.objects.values() if item.get("lookup_key") == lookup_key)
