"""A paying customer of the local Stripe."""

import pytest

from billing.stripe import gateway
from demo.stripe.recordings import Recording
from demo.stripe.world import StripeWorld
from tests.support.event_stream import EventStream
from tests.support.remembered import Remembered

signed_up = Remembered()


@pytest.fixture
def stream(world: StripeWorld) -> EventStream:
    """A customer who signed up and pays, here and at Stripe."""
    stream = EventStream(world)
    signed_up.rows_of(stream.signed_up)
    gateway.account()  # which the process knows after the first event
    return stream


@pytest.fixture
def signup(stream: EventStream) -> Recording:
    """The recording that the customer of `stream` comes from."""
    return stream.recording
