"""Feeds the recorded Stripe events to the running endpoint and waits until the worker has processed them."""

import time
from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from billing.models import WebhookEvent
from demo.stripe.deliver import deliver_all, recorded_events
from glyphforge.observability.terminal import progress, say

# Events that the worker has not touched for so long are not waited for: a lost one is requeued within three
# minutes, one that failed for a moment is tried again after little more than one.
PATIENCE_SECONDS = 240
TRIED_AGAIN_WITHIN = timedelta(seconds=120)
POLL_SECONDS = 0.5


def deliver(url: str, secret: str) -> list[str]:
    """Post the recorded events that the inbox does not hold yet, signed, as Stripe would; returns their ids."""
    recorded = list(recorded_events())
    ids = [event["id"] for event in recorded]
    known = set(WebhookEvent.objects.filter(stripe_event_id__in=ids).values_list("stripe_event_id", flat=True))
    missing = [event for event in recorded if event["id"] not in known]
    if missing:
        with progress("Delivering Stripe's events", len(missing)) as advance:
            answers = deliver_all(f"{url}/webhooks/stripe/", secret, missing, advance)
        refused = {status: count for status, count in answers.items() if status != 200}
        if refused:
            say(f"The webhook endpoint refused some events: {refused}")
    return ids


def wait_until_processed(ids: list[str], on_poll: Callable[[], None]) -> None:
    """Show how far the worker is with these events, until all are done or nothing has been tried for long.

    `on_poll` is called all the while: a worker that died must not be waited for.
    """
    left, attempts = _unfinished(ids)
    if not left:
        return
    last_change = time.monotonic()
    with progress("Processing Stripe's events", left) as advance:
        while left and time.monotonic() - last_change < PATIENCE_SECONDS:
            time.sleep(POLL_SECONDS)
            on_poll()
            before = left, attempts
            left, attempts = _unfinished(ids)
            if before != (left, attempts):
                advance(before[0] - left)
                last_change = time.monotonic()
    connection.close()
    if left:
        say(f"{left} events wait for the worker; it goes on with them in the background.")


def _unfinished(ids: list[str]) -> tuple[int, int]:
    """How many of the events the worker has yet to end or will soon try again, and how often it tried them so far."""
    status = WebhookEvent.Status
    soon = Q(status=status.FAILED, next_retry_at__lte=timezone.now() + TRIED_AGAIN_WITHIN)
    unfinished = Q(status__in=(status.PENDING, status.PROCESSING)) | soon
    ours: QuerySet[WebhookEvent] = WebhookEvent.objects.filter(stripe_event_id__in=ids)
    found = ours.aggregate(left=Count("pk", filter=unfinished), attempts=Sum("attempts"))
    return found["left"], found["attempts"] or 0
