"""A database connection that breaks while an event is processed: the event is not left lying, nor is its task lost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from django_q.models import OrmQ

from billing import tasks
from billing.models import WebhookEvent
from billing.stripe.events import claims, inbox, processing
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from monitoring.worker import broker
from tests.support.database import session
from tests.support.expected import assert_reached

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stream(world: StripeWorld, monkeypatch: pytest.MonkeyPatch) -> recordings.Recording:
    """A signup whose last event waits, and a patient process."""
    monkeypatch.setattr(processing, "RECONNECT_AFTER_SECONDS", (0, 0.1, 0.1))
    stream = recordings.load("signup_paid")
    world.add(stream)
    inbox.store(stream.events[-1])
    return stream


def break_connection() -> None:
    """What a restart of the server does to this process."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with session(autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_claim_is_made_on_another_connection(stream: recordings.Recording) -> None:
    break_connection()
    assert tasks.process_event(stream.events[-1]["id"]) == "processed"


def test_event_whose_processing_broke_off_is_soon_tried_again(
    stream: recordings.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle: Callable = processing.handle

    def broken(subject: Any) -> None:
        handle(subject)
        break_connection()

    with monkeypatch.context() as patch:
        patch.setattr(processing, "handle", broken)
        assert tasks.process_event(stream.events[-1]["id"]) == "failed"
    event = WebhookEvent.objects.get()
    assert "The database could not take it" in str(event.last_error)
    assert event.next_retry_at
    assert event.next_retry_at < timezone.now() + timedelta(minutes=2)
    WebhookEvent.objects.update(next_retry_at=timezone.now())
    assert tasks.process_event(stream.events[-1]["id"]) == "processed"
    for earlier in stream.events[:-1]:
        inbox.store(earlier)
        tasks.process_event(earlier["id"])
    assert_reached(stream.expected)


def test_database_that_stays_away_is_raised(stream: recordings.Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def claim(event_id: str) -> bool:
        tries.append(event_id)
        raise OperationalError("the server is starting up")

    monkeypatch.setattr(claims, "claim", claim)
    with pytest.raises(OperationalError):
        tasks.process_event(stream.events[-1]["id"])
    assert len(tries) == 4
    assert WebhookEvent.objects.get().status == "pending"


def test_pulled_task_survives_a_heartbeat_that_cannot_be_written(
    stream: recordings.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beat(*, pulled: bool) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(broker, "beat_as_pusher", beat)
    pulled = broker.Broker(list_key="glyphforge").dequeue()
    assert pulled is not None
    assert [number for number, _ in pulled] == list(OrmQ.objects.values_list("pk", flat=True))
