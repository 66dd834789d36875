"""Trying events again: one, some, or all that a filter finds, at once or in the background."""

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import OrmQ

from billing import tasks
from billing.models import ReplayRun, WebhookEvent
from billing.stripe.events import replay, replay_runs
from billing.stripe.events.filter import EventFilter
from demo.stripe import recordings
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from tests.support import factories
from tests.support.event_stream import process_pending

pytestmark = pytest.mark.django_db
WHO = {"actor": "ada", "reason": "asked by the customer"}


def audited(action: str) -> AuditEntry:
    return AuditEntry.objects.get(action=action)


def failed_events(number: int, **values: Any) -> list[str]:
    event = recordings.load("signup_paid").events[0]
    ids = [f"evt_failed_{n:03}" for n in range(number)]
    for event_id in ids:
        factories.webhook_event(
            stripe_event_id=event_id,
            event_type=event["type"],
            payload=event | {"id": event_id},
            **{"attempts": 3, "last_error": "no luck", "next_retry_at": timezone.now()} | values,
        )
    return ids


def test_retried_event_is_processed_with_all_attempts_before_it(signup: recordings.Recording) -> None:
    (event_id,) = failed_events(1, status="dead", attempts=8)
    assert replay.replay(WebhookEvent.objects.filter(stripe_event_id=event_id), **WHO) == 1
    assert audited("replay").old_values == {"status": "dead", "attempts": 8}
    process_pending()
    event = WebhookEvent.objects.get(stripe_event_id=event_id)
    assert (event.status, event.attempts, event.last_error) == ("processed", 1, None)


def test_event_in_a_workers_hands_is_not_retried() -> None:
    failed_events(1, status="processing", processing_started_at=timezone.now())
    assert replay.replay(WebhookEvent.objects.all(), **WHO) == 0
    assert WebhookEvent.objects.get().status == "processing"


def test_many_events_go_to_the_background() -> None:
    failed_events(replay.AT_ONCE + 1)
    with pytest.raises(Refused, match="background"):
        replay.replay(WebhookEvent.objects.all(), **WHO)


def test_everything_that_matches_is_replayed_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "AT_ONCE", 2)
    failed_events(2)
    assert replay.replay_all(EventFilter(), **WHO) == 2
    assert not ReplayRun.objects.exists()
    WebhookEvent.objects.all().delete()
    failed_events(3)
    assert replay.replay_all(EventFilter(), **WHO) == 3
    assert ReplayRun.objects.get().total == 3


def test_background_replay_shows_its_progress(signup: recordings.Recording) -> None:
    failed_events(5)
    run = replay_runs.start(EventFilter(error_text="LUCK"), events_per_minute=6000, **WHO)
    tasks.advance_replay(str(run.pk))
    run.refresh_from_db()
    assert (run.status, run.total, run.processed, run.percent) == ("finished", 5, 5, 100)
    assert audited("replay_in_background").new_values == {"filters": run.filters, "total": 5}


def test_background_replay_keeps_to_its_rate(signup: recordings.Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    failed_events(3)
    pauses: list[float] = []
    monkeypatch.setattr(replay_runs, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    tasks.advance_replay(str(replay_runs.start(EventFilter(), events_per_minute=1, **WHO).pk))
    assert len(pauses) == 3
    assert all(30 < pause <= 60 for pause in pauses), "a minute less what the event took"


def test_background_replay_is_resumed_where_it_was(
    signup: recordings.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_events(3)
    run = replay_runs.start(EventFilter(), events_per_minute=6000, **WHO)
    monkeypatch.setattr(replay_runs, "SLICE_SECONDS", 0.001)
    queued = OrmQ.objects.count()
    tasks.advance_replay(str(run.pk))
    run.refresh_from_db()
    assert (run.status, run.done) == ("running", 1)
    assert OrmQ.objects.count() == queued + 1
    for _ in range(3):
        tasks.advance_replay(str(run.pk))
    run.refresh_from_db()
    assert (run.status, run.processed) == ("finished", 3)


def test_second_worker_leaves_a_claimed_run_alone(signup: recordings.Recording) -> None:
    failed_events(1)
    run = replay_runs.start(EventFilter(), **WHO)
    ReplayRun.objects.update(claimed_until=timezone.now() + replay_runs.CLAIM)
    tasks.advance_replay(str(run.pk))
    run.refresh_from_db()
    assert run.done == 0
    assert replay_runs.requeue_stalled() == 0
    ReplayRun.objects.update(claimed_until=timezone.now())
    assert replay_runs.requeue_stalled() == 1


def test_stopped_run_tries_nothing_more(signup: recordings.Recording) -> None:
    failed_events(2)
    run = replay_runs.start(EventFilter(), **WHO)
    replay_runs.stop(run, **WHO)
    tasks.advance_replay(str(run.pk))
    assert set(WebhookEvent.objects.filter(stripe_event_id__startswith="evt_failed").values_list("status")) == {
        ("failed",)
    }
    with pytest.raises(Refused, match="ended already"):
        replay_runs.stop(run, **WHO)


def test_replay_of_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="No event"):
        replay_runs.start(EventFilter(), **WHO)


def test_retry_command_previews_first(capsys: pytest.CaptureFixture[str]) -> None:
    failed_events(2)
    call_command("retry_webhooks")
    assert "2 events match; --apply retries them." in capsys.readouterr().out
    assert WebhookEvent.objects.filter(status="failed").count() == 2
    call_command("retry_webhooks", "evt_failed_001", apply=True)
    assert WebhookEvent.objects.get(status="pending").stripe_event_id == "evt_failed_001"


def test_retry_command_hands_many_to_the_background(capsys: pytest.CaptureFixture[str]) -> None:
    failed_events(replay.AT_ONCE + 1)
    call_command("retry_webhooks", apply=True)
    assert f"tries {replay.AT_ONCE + 1} events" in capsys.readouterr().out
    assert ReplayRun.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "retried"),
    [
        ({}, {"a", "b", "c"}),
        ({"status": ["dead"]}, {"c"}),
        ({"status": ["dead", "ignored"]}, {"c", "d"}),
        ({"type": "invoice.paid"}, {"b"}),
        ({"error": "TIMEOUT"}, {"a", "c"}),
        ({"since": "2026-03-02"}, {"b", "c"}),
        ({"since": "2026-03-02T00:00", "until": "2026-03-02T23:59"}, {"b"}),
        ({"until": "2026-03-01T12:00"}, {"a"}),
        ({"type": "charge.failed", "error": "timeout", "since": "2026-03-02"}, {"c"}),
    ],
)
def test_only_what_the_filter_finds_is_retried(options: dict[str, Any], retried: set[str]) -> None:
    for event_id, status, event_type, error, day in (
        ("a", "failed", "charge.failed", "a timeout", 1),
        ("b", "failed", "invoice.paid", "no plan", 2),
        ("c", "dead", "charge.failed", "a timeout", 3),
        ("d", "ignored", "charge.failed", "other mode", 2),
    ):
        factories.webhook_event(
            stripe_event_id=event_id,
            status=status,
            event_type=event_type,
            last_error=error,
            received_at=datetime(2026, 3, day, 12, tzinfo=UTC),
        )
    call_command("retry_webhooks", apply=True, **options)
    assert set(WebhookEvent.objects.filter(status="pending").values_list("stripe_event_id", flat=True)) == retried


def test_filter_is_stored_with_its_run_and_read_back() -> None:
    moment = timezone.now()
    wanted = EventFilter(
        ("dead",), "invoice.paid", "100 %", "price_1", moment, moment + timedelta(days=1), ("evt_1", "evt_2")
    )
    assert EventFilter.from_json(json.loads(json.dumps(wanted.as_json()))) == wanted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--status", "lost"], "--status: 'lost' is none of pending, processed, failed"),
        (["--status", "processing"], "--status: 'processing' is none of"),
        (["--since", "yesterday"], "--since: 'yesterday' is not a time"),
        (["--until", "2026-13-01"], "--until: '2026-13-01' is not a time"),
        (
            ["--since", "2026-03-02", "--until", "2026-03-01"],
            "'2026-03-02' is later than --until '2026-03-01'",
        ),
        (["--rate", "0"], "--rate: between 1 and 6000 events a minute, not 0"),
        (["--rate", "fast"], "--rate: invalid int value: 'fast'"),
        (["--reason", " "], "--reason: ' ' says nothing"),
        (["evt_failed_000", "evt_nobody"], "evt_nobody: no such event in the inbox"),
        (["evt_done"], "evt_done: is processed, not failed or dead; give its --status too"),
        (["evt_busy", "--status", "failed"], "evt_busy: is being processed right now"),
    ],
)
def test_retry_command_refuses_nonsense(arguments: list[str], said: str) -> None:
    failed_events(1)
    factories.webhook_event(stripe_event_id="evt_done", status="processed")
    factories.webhook_event(stripe_event_id="evt_busy", status="processing")
    with pytest.raises(CommandError) as refusal:
        call_command("retry_webhooks", *arguments, "--apply")
    assert said in str(refusal.value)
    assert WebhookEvent.objects.filter(status="failed").count() == 1


def test_retry_command_reports_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    failed_events(2)
    kind = recordings.load("signup_paid").events[0]["type"]
    rows = [{"event_type": kind, "status": "failed", "events": 2}]
    report = {"events": 2, "found": rows, "applied": False, "pending": 0, "replay_run": None}
    call_command("retry_webhooks", "--json")
    assert json.loads(capsys.readouterr().out) == report
    call_command("retry_webhooks", "--json", "--apply")
    assert json.loads(capsys.readouterr().out) == report | {"applied": True, "pending": 2}
