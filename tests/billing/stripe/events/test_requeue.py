"""Requeueing: what waits without a task is enqueued again, once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from billing import tasks
from billing.models import WebhookEvent
from billing.stripe import gateway
from billing.stripe.events import inbox, requeue
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from demo.stripe.world import StripeWorld
from tests.support import factories

pytestmark = pytest.mark.django_db


def stored(status: str, *, age: timedelta = timedelta(hours=1), due: timedelta | None = None, **values: Any) -> str:
    """An event in the inbox that was received `age` ago and is due in `due`."""
    now = timezone.now()
    event = factories.webhook_event(
        status=status, received_at=now - age, next_retry_at=None if due is None else now + due, **values
    )
    return event.stripe_event_id


def queued() -> list[str]:
    return sorted(task.args()[0] for task in OrmQ.objects.all())


def started(ago: timedelta, attempts: int = 1) -> dict[str, Any]:
    return {"processing_started_at": timezone.now() - ago, "attempts": attempts}


def test_what_is_due_or_was_lost_is_enqueued_once() -> None:
    expected = [
        stored("pending"),
        stored("failed", due=timedelta(seconds=-1)),
        stored("failed"),
        stored("processing", **started(timedelta(minutes=16))),
    ]
    assert tasks.requeue_due() == 4
    assert queued() == expected
    assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"pending"}
    assert tasks.requeue_due() == 0


@pytest.mark.parametrize(
    ("status", "values"),
    [
        ("pending", {"age": timedelta(seconds=30)}),
        ("pending", {"due": timedelta(minutes=5)}),
        ("failed", {"due": timedelta(minutes=5)}),
        ("processing", {"started_ago": timedelta(minutes=14)}),
        ("processed", {}),
        ("ignored", {}),
        ("dead", {}),
    ],
)
def test_what_is_not_due_is_left_alone(status: str, values: dict[str, Any]) -> None:
    # Collected long before it runs: moments are made here.
    ago = values.get("started_ago")
    stored(status, **(values if ago is None else started(ago)))
    assert tasks.requeue_due() == 0
    assert WebhookEvent.objects.get().status == status


def test_event_whose_task_only_waits_is_given_no_second_one() -> None:
    inbox.enqueue(stored("pending"))
    inbox.enqueue(stored("failed", due=timedelta(seconds=-1)))
    assert tasks.requeue_due() == 0
    assert len(queued()) == 2


def test_event_whose_task_was_pulled_and_came_to_nothing_is_given_another() -> None:
    inbox.enqueue(stored("pending"))
    OrmQ.objects.update(lock=timezone.now() + timedelta(seconds=1200))
    assert tasks.requeue_due() == 1
    assert len(queued()) == 2


def test_event_that_lost_the_task_of_a_requeue_is_not_left_for_long() -> None:
    stored("pending")
    tasks.requeue_due()
    OrmQ.objects.all().delete()
    due = WebhookEvent.objects.get().next_retry_at
    assert due
    assert due <= timezone.now() + timedelta(minutes=2)
    WebhookEvent.objects.update(next_retry_at=due - timedelta(minutes=3))
    assert tasks.requeue_due() == 1


def test_task_that_nobody_can_read_does_not_stop_the_requeue() -> None:
    OrmQ.objects.create(key="glyphforge", payload="signed with another key", lock=timezone.now())
    stored("pending")
    assert tasks.requeue_due() == 1


def test_event_that_killed_its_worker_eight_times_is_dead() -> None:
    stored("processing", **started(timedelta(minutes=16), attempts=8))
    assert tasks.requeue_due() == 0
    event = WebhookEvent.objects.get()
    assert event.status == "dead"
    assert "did not finish" in str(event.last_error)


def test_full_queue_is_not_filled_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requeue, "FULL_QUEUE", 2)
    for _ in range(3):
        stored("pending")
    assert tasks.requeue_due() == 2
    assert tasks.requeue_due() == 0
    OrmQ.objects.all().delete()
    assert tasks.requeue_due() == 1


def test_silent_stripe_is_given_up_and_asked_again_later(
    world: StripeWorld, stripe_server: StripeServer, feed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = recordings.load("signup_paid")
    world.add(stream)
    monkeypatch.setattr(gateway, "TIMEOUT_SECONDS", 0.2)
    gateway.configure()
    given_up = threading.Event()

    def silent(method: str, path: str) -> None:
        given_up.wait(60)

    stripe_server.intercept = silent
    assert feed(stream.events[-1:]) == ["failed"]
    given_up.set()
    event = WebhookEvent.objects.get()
    assert "did not answer" in str(event.last_error)
    assert event.next_retry_at
    assert event.next_retry_at > timezone.now()
