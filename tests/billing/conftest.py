"""A paying customer of the local Stripe."""

import pytest

from demo.stripe.recordings import Recording
from demo.stripe.world import StripeWorld
from tests.support.event_stream import EventStream


@pytest.fixture
def stream(world: StripeWorld) -> EventStream:
    """A customer who signed up and pays, here and at Stripe."""
    return EventStream(world).signed_up()


@pytest.fixture
def signup(stream: EventStream) -> Recording:
    """The recording that the customer of `stream` comes from."""
    return stream.recording
