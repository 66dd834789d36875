"""`make run` waits for the recorded events for as long as something is done about them."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from billing.models import WebhookEvent
from demo.run import events
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(events, "POLL_SECONDS", 0.01)
    # The one connection is the test's transaction, and stays open.
    monkeypatch.setattr(events, "connection", SimpleNamespace(close=lambda: None))


def event(event_id: str = "evt_1", **values: Any) -> WebhookEvent:
    return factories.webhook_event(stripe_event_id=event_id, **{"status": "pending"} | values)


def test_every_attempt_is_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour passes between any two looks at the clock, and something happens between any two looks at the events."""
    hours = iter(range(0, 3600 * 1000, 3600))
    monkeypatch.setattr(events, "PATIENCE_SECONDS", 3601 * 3)
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=lambda: next(hours), sleep=lambda seconds: None))
    waiting = event()

    def work() -> None:
        waiting.attempts += 1
        waiting.status = "processed" if waiting.attempts == 20 else "processing"
        waiting.save()

    events.wait_until_processed(["evt_1"], work)
    assert waiting.status == "processed"


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_event_that_nobody_touches_is_left_to_the_worker(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(events, "PATIENCE_SECONDS", 0.2)
    event(status=status)
    events.wait_until_processed(["evt_1"], lambda: None)
    assert "1 events wait for the worker" in capsys.readouterr().out


def test_event_that_is_soon_tried_again_is_waited_for() -> None:
    failed = event(status="failed", next_retry_at=timezone.now() + timedelta(seconds=70))

    def retry() -> None:
        failed.status = "processed"
        failed.save()

    events.wait_until_processed(["evt_1"], retry)
    assert failed.status == "processed"


@pytest.mark.parametrize("due", [timedelta(hours=20), None])
def test_parked_event_is_not_waited_for(due: timedelta | None) -> None:
    event(status="failed" if due else "dead", next_retry_at=due and timezone.now() + due)

    def never() -> None:
        raise AssertionError("waited")

    events.wait_until_processed(["evt_1"], never)


def test_events_of_others_are_not_waited_for() -> None:
    event("evt_other")
    events.wait_until_processed(["evt_1"], lambda: pytest.fail("waited"))
