"""The sixteen recorded histories, through inbox, processing, mirror and projection: rehearsed, then in earnest."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.stripe import gateway
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.database.rehearsal import rehearse
from tests.support.all_rows import changed_by, comparable, digest
from tests.support.event_stream import run_tasks
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db

LARGE = "many_customers"  # the others many times over


def test_large_recording_ends_in_its_expected_state(world: StripeWorld, feed: Callable) -> None:
    recording = recordings.load(LARGE)
    world.add(recording)
    assert set(feed(recording.events)) == {"processed"}
    assert_reached(recording.expected)


@pytest.mark.parametrize("name", [name for name in recordings.names() if name != LARGE])
def test_recording_ends_in_its_expected_state_by_the_rows_that_were_rehearsed(
    name: str, world: StripeWorld, feed: Callable
) -> None:
    recording = recordings.load(name)
    world.add(recording)
    gateway.account()  # which the process knows after the first event
    before = digest()
    rehearsed = rehearse(lambda: feed(recording.events))
    assert digest() == before

    def act() -> list[Any]:
        statuses = feed(recording.events)
        run_tasks()
        return statuses

    happened = comparable(changed_by(act))
    assert set(rehearsed.said) == {"processed"}
    assert_reached(recording.expected)
    different = set(comparable(rehearsed.changes)) ^ set(happened)
    assert not different, different
    assert len(rehearsed.changes) == len(happened) > 20
