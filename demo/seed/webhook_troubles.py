"""Events that went wrong while Stripe did not answer, one of them given up: a retry repairs each."""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from billing.models import WebhookEvent
from demo.seed.customers import Customer
from demo.seed.identities import stripe_id
from demo.stripe.deliver import recorded_events

RETRIABLE = "customer.subscription.updated"
UNPAID = "invoice.payment_failed"


def rows(rng: random.Random, customers: list[Customer], now: datetime) -> Iterator[dict[str, Any]]:
    """Failed and dead events; none without paying customers to speak of."""
    paying = [customer for customer in customers if customer.is_paying]
    if len(paying) < 10:
        return
    # The same news as a recorded event under another id: the local Stripe knows the objects, so a retry succeeds.
    repairable = [event for event in recorded_events() if event["type"] == RETRIABLE]
    for attempts in (1, 1, 2, 3):
        event = {**rng.choice(repairable), "id": stripe_id(rng, "evt")}
        yield _row(event, now - timedelta(minutes=rng.randint(5, 50)), attempts, now + timedelta(hours=6))
    for attempts in (1, 2, 5):
        event = _unpaid(rng, rng.choice(paying), now)
        yield _row(event, now - timedelta(hours=rng.randint(2, 30)), attempts, now + timedelta(hours=20))
    yield _row(_unpaid(rng, rng.choice(paying), now), now - timedelta(days=3), 8, None)


def _unpaid(rng: random.Random, customer: Customer, now: datetime) -> dict[str, Any]:
    invoice = {
        "object": "invoice",
        "id": stripe_id(rng, "in"),
        "customer": customer.stripe_customer_id,
        "status": "open",
    }
    return {
        "id": stripe_id(rng, "evt"),
        "object": "event",
        "type": UNPAID,
        "api_version": settings.STRIPE_API_VERSION,
        "created": int(now.timestamp()) - 7200,
        "livemode": False,
        "data": {"object": invoice},
    }


def _row(event: dict[str, Any], received_at: datetime, attempts: int, next_retry_at: datetime | None) -> dict[str, Any]:
    return {
        "stripe_event_id": event["id"],
        "event_type": event["type"],
        "api_version": event["api_version"],
        "payload": json.dumps(event),
        "status": WebhookEvent.Status.FAILED if next_retry_at else WebhookEvent.Status.DEAD,
        "attempts": attempts,
        "last_error": f"Stripe did not answer for {event['data']['object']['id']}: Request timed out.",
        "next_retry_at": next_retry_at,
        "received_at": received_at,
        "processing_started_at": received_at + timedelta(minutes=attempts),
    }
