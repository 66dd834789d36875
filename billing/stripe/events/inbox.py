"""The inbox of verified events: a row per event, and a task that processes it.

Once an event is acknowledged Stripe never sends it again, so the row and its task are committed
together before the answer.
"""

from __future__ import annotations

import json
import re
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django_q.tasks import async_task

from billing.models import WebhookEvent
from billing.stripe.subject import kind_of

Json = dict[str, Any]

TASK = "billing.tasks.process_event"
#: What Stripe's ids, types and versions are made of, generously.
NAME = re.compile(r"[!-~]{1,255}")


class NotAnEventError(ValueError):
    """The body is no Stripe event; the message says what is wrong."""


def parse(body: bytes) -> Json:
    """The event in a delivery's body, with its members checked as far as the inbox needs them."""
    try:
        event = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise NotAnEventError("the body is not JSON") from error
    if not isinstance(event, dict) or event.get("object") != "event":
        raise NotAnEventError("the JSON is not a Stripe event")
    for name in ("id", "type", *(["api_version"] if event.get("api_version") is not None else [])):
        if not isinstance(event.get(name), str) or not NAME.fullmatch(event[name]):
            raise NotAnEventError(f"the event has no {name} of 1 to 255 printable characters")
    if not isinstance(event.get("livemode"), bool):
        raise NotAnEventError("the event does not say whether it is live or test")
    return event


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def store(event: Json) -> bool:
    """Store ``event`` and enqueue its processing, in one transaction. False for one that is here already.

    An event of a type that changes nothing here, or of the other mode, is stored as ignored.
    """
    reason = ignored_because(event)
    with transaction.atomic():
        if not _insert(event, reason):
            return False
        if reason is None:
            enqueue(event["id"])
    return True


def ignored_because(event: Json) -> str | None:
    """Why an event is not processed; None when it is."""
    if event["livemode"] != settings.STRIPE_LIVE_MODE:
        modes = ("live", "test") if event["livemode"] else ("test", "live")
        return f"A {modes[0]}-mode event; this back office follows {modes[1]} mode (STRIPE_LIVE_MODE)."
    if kind_of(event["type"]) is None:
        return f"Events of type {event['type']} change nothing here."
    return None


def _insert(event: Json, reason: str | None) -> bool:
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
                "payload": json.dumps(storable(event)),
                "status": WebhookEvent.Status.IGNORED if reason else WebhookEvent.Status.PENDING,
                "reason": reason,
            },
        )
        return cursor.rowcount == 1


def storable(value: Any) -> Any:
    """``value`` without what jsonb cannot hold: NUL characters and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode() if _odd(value) else value
    if isinstance(value, dict):
        return {storable(key): storable(member) for key, member in value.items()}
    if isinstance(value, list):
        return [storable(member) for member in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value


def _odd(text: str) -> bool:
    return any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def enqueue(event_id: str) -> None:
    """Queue the processing of an event; in a transaction the task appears when it commits."""
    async_task(TASK, event_id, task_name=event_id[:100])


def reset(event_ids: list[str]) -> int:
    """Set events back to pending, all attempts before them; those in a worker's hands stay. Returns how many."""
    idle = WebhookEvent.objects.filter(stripe_event_id__in=event_ids).exclude(status=WebhookEvent.Status.PROCESSING)
    return idle.update(
        status=WebhookEvent.Status.PENDING, attempts=0, next_retry_at=None, last_error=None, processed_at=None
    )


def wake(text: str) -> int:
    """Make failed events due whose error names ``text``: what they wait for has come. Returns how many."""
    parked = WebhookEvent.objects.filter(status=WebhookEvent.Status.FAILED, last_error__icontains=text)
    return parked.update(next_retry_at=None)


def claim(event_id: str) -> bool:
    """Take the event for 15 minutes and count the attempt, in a commit of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT start_webhook_processing(%s)", [event_id])
        return bool(cursor.fetchone()[0])


def complete(event_id: str, error: str | None) -> bool:
    """End the processing: processed, or failed with ``error``. False when it was no longer ours."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT complete_webhook_processing(%s, %s)", [event_id, error])
        return bool(cursor.fetchone()[0])
