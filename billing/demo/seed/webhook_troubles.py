"""Events that went wrong: some that a retry heals, some that need a person, some given up."""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from billing.demo.deliver import recorded_events
from billing.demo.seed.customers import Customer
from billing.demo.seed.identities import stripe_id
from billing.models import WebhookEvent

TIMEOUT = "Stripe did not answer within 10 s; will be tried again."
RETRIABLE = "customer.subscription.updated"
PARKED = "invoice.payment_failed"


def rows(rng: random.Random, customers: list[Customer], now: datetime) -> Iterator[dict[str, Any]]:
    """Failed and dead events; none without paying customers to speak of."""
    paying = [customer for customer in customers if customer.is_paying]
    if len(paying) < 10:
        return
    # The same news as a recorded event under another id: the local Stripe knows the objects, so a retry succeeds.
    healable = [event for event in recorded_events() if event["type"] == RETRIABLE]
    for attempts in (1, 1, 2, 3):
        event = {**rng.choice(healable), "id": stripe_id(rng, "evt")}
        yield _row(event, now - timedelta(minutes=rng.randint(5, 50)), attempts, TIMEOUT, now + timedelta(hours=6))
    # Parked until somebody maps the price or links the customer.
    for attempts in (1, 2, 5):
        event = _parked(rng, rng.choice(paying), now)
        problem = f"No tier claims price {stripe_id(rng, 'price')}: map it to a tier under Plan prices, then retry."
        yield _row(event, now - timedelta(hours=rng.randint(2, 30)), attempts, problem, now + timedelta(hours=20))
    event = _parked(rng, rng.choice(paying), now)
    unknown = f"No such customer: '{event['data']['object']['customer']}'; given up after 8 attempts."
    yield _row(event, now - timedelta(days=3), 8, unknown, None)


def _parked(rng: random.Random, customer: Customer, now: datetime) -> dict[str, Any]:
    invoice = {
        "object": "invoice",
        "id": stripe_id(rng, "in"),
        "customer": customer.stripe_customer_id,
        "status": "open",
    }
    return {
        "id": stripe_id(rng, "evt"),
        "object": "event",
        "type": PARKED,
        "api_version": "2026-08-26.dahlia",
        "created": int(now.timestamp()) - 7200,
        "livemode": False,
        "data": {"object": invoice},
    }


def _row(
    event: dict[str, Any], received_at: datetime, attempts: int, error: str, next_retry_at: datetime | None
) -> dict[str, Any]:
    return {
        "stripe_event_id": event["id"],
        "event_type": event["type"],
        "api_version": event["api_version"],
        "payload": json.dumps(event),
        "status": WebhookEvent.Status.FAILED if next_retry_at else WebhookEvent.Status.DEAD,
        "attempts": attempts,
        "last_error": error,
        "next_retry_at": next_retry_at,
        "received_at": received_at,
        "processing_started_at": received_at + timedelta(minutes=attempts),
    }
