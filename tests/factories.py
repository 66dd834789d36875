"""Rows for tests, one function a noun; what a test does not mention gets a believable value."""

import itertools
from datetime import timedelta
from typing import Any

from django.utils import timezone

from billing import roles
from billing.models import ApiKey, Payment, Subscription, Tier, User, WebhookEvent
from billing.services import api_keys

_numbers = itertools.count(1)


def customer(**values: Any) -> User:
    """A customer with an address of their own; the database adds the free subscription."""
    user = User.objects.create(**{"email": f"customer{next(_numbers)}@example.com"} | values)
    user.refresh_from_db()
    return user


def issued_key(user: User | None = None, **values: Any) -> api_keys.IssuedKey:
    """A usable key together with its raw text."""
    defaults = {"environment": ApiKey.Environment.PRODUCTION, "actor": "test", "reason": "needed"}
    return api_keys.issue(user or customer(), **defaults | values)


def subscription(user: User | None = None, **values: Any) -> Subscription:
    """A paid subscription; the customer's free one ends, as when Stripe reports a paid one."""
    user = user or customer()
    if values.get("status", "active") in Subscription.LIVE and not values.get("is_duplicate"):
        user.subscriptions.filter(status__in=Subscription.LIVE).update(status="canceled", canceled_at=timezone.now())
    defaults = {
        "tier": Tier.STARTER,
        "stripe_subscription_id": f"sub_{next(_numbers):06}",
        "stripe_price_id": "price_starter",
        "price_cents": 2900,
        "monthly_request_limit": 10_000,
        "current_period_start": timezone.now() - timedelta(days=10),
        "current_period_end": timezone.now() + timedelta(days=20),
    }
    row = Subscription.objects.create(user=user, **defaults | values)
    row.refresh_from_db()
    return row


def payment(user: User | None = None, **values: Any) -> Payment:
    """A charge that succeeded."""
    number = next(_numbers)
    defaults = {
        "stripe_charge_id": f"ch_{number:06}",
        "stripe_invoice_id": f"in_{number:06}",
        "stripe_payment_intent_id": f"pi_{number:06}",
        "amount_cents": 2900,
        "status": Payment.Status.SUCCEEDED,
        "receipt_url": "https://pay.stripe.com/receipts/1",
        "paid_at": timezone.now(),
    }
    row = Payment.objects.create(user=user or customer(), **defaults | values)
    row.refresh_from_db()
    return row


def webhook_event(**values: Any) -> WebhookEvent:
    """An event whose processing failed once."""
    defaults = {
        "stripe_event_id": f"evt_{next(_numbers):06}",
        "event_type": "invoice.paid",
        "payload": {"data": {"object": {"customer": "cus_none"}}},
        "status": WebhookEvent.Status.FAILED,
        "attempts": 1,
        "last_error": "Stripe did not answer in time.",
    }
    row = WebhookEvent.objects.create(**defaults | values)
    row.refresh_from_db()
    return row


def staff(role: str, **values: Any) -> Any:
    """A member of staff in the role's group."""
    return roles.create_staff(f"{role}{next(_numbers)}", role, **values)
