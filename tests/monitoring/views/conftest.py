"""A customer at the local Stripe, for the views that read the mirror."""

import pytest

from demo.stripe.world import StripeWorld
from tests.support.event_stream import EventStream


@pytest.fixture
def stream(world: StripeWorld) -> EventStream:
    """A signed-up customer whose objects at Stripe a test may change."""
    return EventStream(world).signed_up()
