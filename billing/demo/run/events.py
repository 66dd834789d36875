"""Feeds the recorded Stripe events to the running endpoint and waits until the worker has processed them."""

import time

from django.db import connection

from billing.demo.deliver import deliver_all, recorded_events
from billing.models import WebhookEvent
from glyphforge.terminal import progress, say

# Events that the worker has not touched for so long are not waited for.
PATIENCE_SECONDS = 30
UNFINISHED = (WebhookEvent.Status.PENDING, WebhookEvent.Status.PROCESSING)


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


def wait_until_processed(ids: list[str]) -> None:
    """Show how far the worker is with these events, until all are done or it makes no more progress."""
    ours = WebhookEvent.objects.filter(stripe_event_id__in=ids, status__in=UNFINISHED)
    left = ours.count()
    if not left:
        return
    last_change = time.monotonic()
    with progress("Processing Stripe's events", left) as advance:
        while left and time.monotonic() - last_change < PATIENCE_SECONDS:
            time.sleep(0.5)
            now_left = ours.count()
            if now_left != left:
                advance(left - now_left)
                left, last_change = now_left, time.monotonic()
    connection.close()
    if left:
        say(f"{left} events wait for the worker; it goes on with them in the background.")
