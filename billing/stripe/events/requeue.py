"""Requeueing: whatever waits in the inbox and has no task is enqueued again."""

from __future__ import annotations

from django.db import Error, connection, transaction
from django.db.models.functions import Now
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from billing.stripe.events import claims, inbox
from glyphforge.database.one_row import each, is_about_the_row
from glyphforge.errors import LeftOut

# A pending event whose task does not wait in the queue any more was pulled, and is about to be processed, or lost its
# task: with a worker that was killed, or with a database that was away for a moment.
LOST_AFTER = "1 minute"
# The same for an event that was requeued. A second task for one event does no harm: it finds it claimed.
GIVEN_FOR = "2 minutes"
# The queue is a table: a backlog is better kept in the inbox than copied into it.
FULL_QUEUE = 3_000


def requeue_due() -> int:
    """Enqueue the events that are due, were lost or whose lease ran out; returns how many.

    Calling it twice at once enqueues each event once: rows that somebody else holds are skipped. Fills the queue to
    3,000 tasks at most; the rest waits for the next call. How rows are skipped:
    https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE

    Raises LeftOut, when the others are enqueued, with the events that the database refuses to change.
    """
    room = FULL_QUEUE - OrmQ.objects.count()
    if room <= 0:
        return 0
    waiting = _waiting()
    with transaction.atomic():
        due = _due(room, waiting)
        try:
            with transaction.atomic():
                return _enqueue(due)
        except Error as error:
            if not is_about_the_row(error):
                raise
        try:
            return each(due, lambda event_id: _enqueue([event_id]))
        except LeftOut as error:
            left = error  # raised in here it would undo the others
    raise left


def _enqueue(event_ids: list[str]) -> int:
    found = _set_pending(event_ids)
    for event_id in found:
        inbox.enqueue(event_id)
    return len(found)


def _waiting() -> list[str]:
    """The events whose task is in the queue and was not pulled yet: they are only late, not lost."""
    found = []
    for payload in OrmQ.objects.filter(lock__lte=Now()).values_list("payload", flat=True):
        try:
            task = SignedPackage.loads(payload)
        except Exception:  # noqa: BLE001, S112 - nor can the queue read it: of another key, or of code that is gone
            continue
        if task["func"] == inbox.TASK and task["args"]:
            found.append(str(task["args"][0]))
    return found


def _due(limit: int, waiting: list[str]) -> list[str]:
    """The events to be given out, locked; those that somebody else holds are skipped."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT stripe_event_id FROM stripe_webhook_events
            WHERE (
                (status = 'pending' AND coalesce(next_retry_at, received_at + %(lost)s::interval) <= now())
                OR (status = 'failed' AND coalesce(next_retry_at, '-infinity') <= now())
                OR (status = 'processing' AND attempts < webhook_attempts()
                    AND processing_started_at <= now() - webhook_lease())
            ) AND stripe_event_id <> ALL (%(waiting)s::text[])
            ORDER BY received_at
            LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
            """,
            {"lost": LOST_AFTER, "limit": limit, "waiting": waiting},
        )
        return [row[0] for row in cursor.fetchall()]


def _set_pending(event_ids: list[str]) -> list[str]:
    """Set the events back to pending and note until when their new task has time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE stripe_webhook_events SET status = 'pending', next_retry_at = now() + %s::interval"
            " WHERE stripe_event_id = ANY (%s) RETURNING stripe_event_id",
            [GIVEN_FOR, event_ids],
        )
        return [row[0] for row in cursor.fetchall()]


def dead_letter() -> int:
    """Mark the events dead whose eighth lease ran out: their worker died each time. Returns how many.

    Raises LeftOut, when the others are marked, with the events that the database refuses to change.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stripe_event_id FROM stripe_webhook_events"
            " WHERE status = 'processing' AND attempts >= webhook_attempts()"
            " AND processing_started_at <= now() - webhook_lease()"
        )
        expired = [row[0] for row in cursor.fetchall()]
    return each(expired, lambda event_id: int(not claims.claim(event_id)))
