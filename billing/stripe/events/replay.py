"""Trying stored events again: one, or a few at once."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from billing.models import WebhookEvent
from billing.stripe.events import inbox, replay_runs
from billing.stripe.events.filter import EventFilter, matching
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused

# More than these are replayed in the background.
AT_ONCE = 100
Status = WebhookEvent.Status


def replay(events: QuerySet[WebhookEvent], *, actor: str, reason: str) -> int:
    """Set `events` back to pending with all attempts before them, and enqueue them; returns how many.

    Events that are being processed are left alone. One audit row an event. Refuses more than AT_ONCE, 100.
    """
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        found = events.exclude(status=Status.PROCESSING).order_by("received_at", "pk")
        locked = list(found.select_for_update(skip_locked=True, of=("self",))[: AT_ONCE + 1])
        if len(locked) > AT_ONCE:
            raise Refused(f"More than {AT_ONCE} events: replay them in the background.")
        for event in locked:
            record(
                "replay",
                table_name="stripe_webhook_events",
                row_id=event.stripe_event_id,
                reason=reason,
                old_values={"status": event.status, "attempts": event.attempts},
            )
        inbox.reset([event.stripe_event_id for event in locked])
        for event in locked:
            inbox.enqueue(event.stripe_event_id)
    return len(locked)


def replay_all(wanted: EventFilter, *, actor: str, reason: str) -> int:
    """Replay everything that `wanted` finds, at once when it is little, else in the background; returns how many."""
    found = matching(wanted)
    if found.count() <= AT_ONCE:
        return replay(found, actor=actor, reason=reason)
    return replay_runs.start(wanted, actor=actor, reason=reason).total
