"""Replays in the background: many events, one after the other, at a capped rate and with progress."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from billing.models import ReplayRun, WebhookEvent
from billing.stripe.events import inbox, processing
from billing.stripe.events.filter import EventFilter, matching
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused

TASK = "billing.tasks.advance_replay"
EVENTS_PER_MINUTE = 300
MAX_EVENTS_PER_MINUTE = 6_000
DONE = (WebhookEvent.Status.PROCESSED, WebhookEvent.Status.IGNORED)
# A run gives its worker back after this time and queues up again behind the others.
SLICE_SECONDS = 50
# Longer than a slice: afterwards the worker is taken for dead.
CLAIM = timedelta(minutes=5)


def start(wanted: EventFilter, *, actor: str, reason: str, events_per_minute: int = EVENTS_PER_MINUTE) -> ReplayRun:
    """Start a background run over everything that `wanted` finds now, and return it.

    The run takes one worker and tries at most `events_per_minute`; its row shows the progress. Refuses an empty reason,
    a filter that finds nothing and a rate outside 1 to 6,000.
    """
    if not reason.strip():
        raise Refused("A replay needs a reason.")
    if not 1 <= events_per_minute <= MAX_EVENTS_PER_MINUTE:
        raise Refused(f"Between 1 and {MAX_EVENTS_PER_MINUTE} events a minute, not {events_per_minute}.")
    total = matching(wanted).count()
    if not total:
        raise Refused("No event matches.")
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        run = ReplayRun.objects.create(
            filters=wanted.as_json(),
            events_per_minute=events_per_minute,
            total=total,
            actor=actor,
            reason=reason,
        )
        record(
            "replay_in_background",
            table_name="replay_runs",
            row_id=run.pk,
            reason=reason,
            new_values={"filters": run.filters, "total": total},
        )
        async_task(TASK, str(run.pk))
    run.refresh_from_db()
    return run


def stop(run: ReplayRun, *, actor: str, reason: str) -> None:
    """Stop a background run after the event that it is trying; refuses one that has ended."""
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        running = ReplayRun.objects.filter(pk=run.pk, status=ReplayRun.Status.RUNNING)
        if not running.update(status=ReplayRun.Status.STOPPED, finished_at=Now()):
            raise Refused("The run has ended already.")
        record("stop_replay", table_name="replay_runs", row_id=run.pk, reason=reason)


def advance(run_id: UUID | str) -> None:
    """Try events of a run for up to 50 seconds, then queue up again until it is finished or stopped.

    A second caller finds the run claimed and does nothing.
    """
    if not _claim(run_id):
        return
    run = ReplayRun.objects.get(pk=run_id)
    wanted = EventFilter.from_json(run.filters)
    pause = 60 / run.events_per_minute
    until = time.monotonic() + SLICE_SECONDS
    while time.monotonic() < until:
        began = time.monotonic()
        event = _next(run, wanted)
        if event is None:
            _update(run, status=ReplayRun.Status.FINISHED, finished_at=Now(), claimed_until=None)
            return
        if not _try(run, event):
            return
        time.sleep(max(0.0, pause - (time.monotonic() - began)))
    if _update(run, claimed_until=None):
        async_task(TASK, str(run.pk))


def requeue_stalled() -> int:
    """Enqueue runs whose worker died or whose task got lost; returns how many."""
    lost = Q(claimed_until__lt=Now()) | Q(claimed_until=None, updated_at__lt=Now() - CLAIM)
    runs = ReplayRun.objects.filter(lost, status=ReplayRun.Status.RUNNING)
    for run in runs:
        async_task(TASK, str(run.pk))
    return len(runs)


def _claim(run_id: UUID | str) -> bool:
    free = Q(claimed_until=None) | Q(claimed_until__lt=Now())
    runs = ReplayRun.objects.filter(free, pk=run_id, status=ReplayRun.Status.RUNNING)
    return bool(runs.update(claimed_until=Now() + CLAIM))


def _next(run: ReplayRun, wanted: EventFilter) -> WebhookEvent | None:
    """The next event in the order of arrival. What arrives after the start is none of this run's business."""
    events = matching(wanted).filter(received_at__lte=run.created_at).order_by("received_at", "pk")
    if run.position_at:
        after = Q(received_at__gt=run.position_at) | Q(received_at=run.position_at, pk__gt=run.position_id)
        events = events.filter(after)
    return events.first()


def _try(run: ReplayRun, event: WebhookEvent) -> bool:
    """Try one event and count it; False when the run was stopped meanwhile."""
    with acting_as(actor=run.actor, kind="staff", reason=run.reason):
        tried = bool(inbox.reset([event.stripe_event_id]))
        status = processing.process(event.stripe_event_id) if tried else None
    run.position_at, run.position_id = event.received_at, event.pk
    counter = "processed" if status in DONE else "failed" if status else "skipped"
    return _update(
        run,
        position_at=event.received_at,
        position_id=event.pk,
        claimed_until=Now() + CLAIM,
        **{counter: F(counter) + 1},
    )


def _update(run: ReplayRun, **values: object) -> bool:
    return bool(ReplayRun.objects.filter(pk=run.pk, status=ReplayRun.Status.RUNNING).update(**values))
