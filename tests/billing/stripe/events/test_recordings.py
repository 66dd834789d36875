"""The sixteen recorded histories, through inbox, processing, mirror and projection."""

from collections.abc import Callable

import pytest

from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", recordings.names())
def test_recording_ends_in_its_expected_state(name: str, world: StripeWorld, feed: Callable) -> None:
    recording = recordings.load(name)
    world.add(recording)
    assert set(feed(recording.events)) == {"processed"}
    assert_reached(recording.expected)
