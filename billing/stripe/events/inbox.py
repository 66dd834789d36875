"""The inbox of verified events: a row per event, and a task that processes it.

Once an event is acknowledged Stripe never sends it again, so the row and its task are committed
together before the answer.
"""

from __future__ import annotations

import json
import re
from typing import cast

from django.conf import settings
from django.db import connection, transaction
from django_q.tasks import async_task

from billing.models import WebhookEvent
from billing.stripe.events.event_object import kind_of
from billing.stripe.objects import Event
from glyphforge.text import storable_json

TASK = "billing.tasks.process_event"
# What Stripe's ids, types and versions are made of, generously.
NAME = re.compile(r"[!-~]{1,255}")


class NotAnEventError(ValueError):
    """The body is no Stripe event; the message says what is wrong."""


def parse(body: bytes) -> Event:
    """Read the event in a delivery's body, and check its members as far as the inbox needs them.

    Those are `object`, `id`, `type`, `api_version` and `livemode`: https://docs.stripe.com/api/events/object. Raises
    NotAnEventError, whose message may be sent back.
    """
    try:
        event = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NotAnEventError("the body is not JSON") from error
    if isinstance(event, dict) and str(event.get("object")).startswith("v2."):
        raise NotAnEventError(
            f"the event is a {event['object']} of Stripe's API v2, a thin one without its object: let this endpoint"
            " be sent snapshot events of API v1"
        )
    if not isinstance(event, dict) or event.get("object") != "event":
        raise NotAnEventError("the JSON is not a Stripe event")
    for name in ("id", "type", *(["api_version"] if event.get("api_version") is not None else [])):
        if not isinstance(event.get(name), str) or not NAME.fullmatch(event[name]):
            raise NotAnEventError(f"the event has no {name} of 1 to 255 printable characters")
    if not isinstance(event.get("livemode"), bool):
        raise NotAnEventError("the event does not say whether it is live or test")
    return cast(Event, event)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def store(event: Event) -> bool:
    """Store `event`, as `parse` returns it, and enqueue its processing, in one transaction.

    False for one that is here already: Stripe may deliver an event more than once, see
    https://docs.stripe.com/webhooks. An event of a type that changes nothing here, or of the other mode, is stored as
    ignored.
    """
    reason = ignored_because(event)
    with transaction.atomic():
        if not _insert(event, reason):
            return False
        if reason is None:
            enqueue(event["id"])
    return True


def ignored_because(event: Event) -> str | None:
    """Why an event is not processed; None when it is."""
    if event["livemode"] != settings.STRIPE_LIVE_MODE:
        modes = ("live", "test") if event["livemode"] else ("test", "live")
        return f"A {modes[0]}-mode event; this back office handles {modes[1]} mode (STRIPE_LIVE_MODE)."
    if kind_of(event["type"]) is None:
        return f"Events of type {event['type']} change nothing here."
    return None


def _insert(event: Event, reason: str | None) -> bool:
    """Insert the row; one that was claimed by id before it arrived is a stub and gets its payload now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO stripe_webhook_events AS e
                (stripe_event_id, event_type, api_version, livemode, payload, status, last_error)
            VALUES (%(id)s, %(type)s, %(api_version)s, %(livemode)s, %(payload)s, %(status)s, %(reason)s)
            ON CONFLICT (stripe_event_id) DO UPDATE
            SET event_type = excluded.event_type, api_version = excluded.api_version,
                livemode = excluded.livemode, payload = excluded.payload
            WHERE e.payload = '{}'
            """,
            {
                "id": event["id"],
                "type": event["type"],
                "api_version": event.get("api_version"),
                "livemode": event["livemode"],
                "payload": json.dumps(storable_json(event)),
                "status": WebhookEvent.Status.IGNORED if reason else WebhookEvent.Status.PENDING,
                "reason": reason,
            },
        )
        return cursor.rowcount == 1


def enqueue(event_id: str) -> None:
    """Queue the processing of an event; in a transaction the task appears when it commits."""
    async_task(TASK, event_id, task_name=event_id[:100])


def reset(event_ids: list[str]) -> int:
    """Set events back to pending, all attempts before them; returns how many. Nothing is enqueued.

    Events that a worker has in its hands stay as they are.
    """
    idle = WebhookEvent.objects.filter(stripe_event_id__in=event_ids).exclude(status=WebhookEvent.Status.PROCESSING)
    return idle.update(
        status=WebhookEvent.Status.PENDING,
        attempts=0,
        next_retry_at=None,
        last_error=None,
        waits_for=None,
        processed_at=None,
    )


def retry_waiting(key: str) -> int:
    """Make failed events due that wait for `key`: it has come. Returns how many.

    The job `webhooks` enqueues them within a minute; the rule is `retry_waiting_events()`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT retry_waiting_events(%s)", [key])
        return int(cursor.fetchone()[0])
