"""A local Stripe, and a queue that is drained by hand."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from billing.demo.stripe_server import StripeServer
from billing.demo.stripe_world import StripeWorld
from billing.models import WebhookEvent
from billing.stripe import gateway, inbox, processing

Json = dict[str, Any]


@pytest.fixture(scope="session")
def _shared_stripe() -> Iterator[StripeServer]:
    with StripeServer(StripeWorld()) as server:
        yield server


@pytest.fixture
def stripe_server(
    _shared_stripe: StripeServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StripeServer]:
    """A running local Stripe whose world is empty; what the test changes is forgotten afterwards."""
    _shared_stripe.world = StripeWorld()
    _shared_stripe.requests.clear()
    _shared_stripe.intercept = None
    settings.STRIPE_API_HOST = _shared_stripe.url
    monkeypatch.setattr(gateway, "NETWORK_RETRIES", 0)  # stripe-python would sleep between them
    gateway.configure()
    yield _shared_stripe
    gateway.forget()


@pytest.fixture
def world(stripe_server: StripeServer) -> StripeWorld:
    """The account behind :func:`stripe_server`."""
    return stripe_server.world


@pytest.fixture
def feed() -> Callable[[Iterable[Json]], list[str | None]]:
    """Store events in the inbox and process each once, in the given order; returns their statuses."""

    def feed_(events: Iterable[Json]) -> list[str | None]:
        events = list(events)
        for event in events:
            inbox.store(event)
        return [processing.process(event["id"]) for event in events]

    return feed_


@pytest.fixture
def statuses(db: None) -> Callable[[], dict[str, str]]:
    """Every stored event's status."""
    return lambda: dict(WebhookEvent.objects.values_list("stripe_event_id", "status"))
