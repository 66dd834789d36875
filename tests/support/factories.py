"""Single rows for tests and benchmarks, one function a noun; what is not mentioned gets a believable value.

Each takes the values of columns by name, also as an expression of the database (`sql.SQL`, `sql.ago`), and returns the
row as the database has it, with what defaults and triggers added. `user` is a customer or the id of one; without it a
new one is made. Many rows at once are in `bulk`.
"""

import itertools
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils import timezone
from djstripe.models import Price, Product

from billing.keys import lifecycle
from billing.models import ApiKey, OpenInvoice, Payment, StripeRequest, Subscription, Tier, User, WebhookEvent
from monitoring.models import Alert, JobSchedule, WorkerHeartbeat
from tests.support.sql import SQL, ago, columns_of, run

Owner = User | UUID | str | None
_numbers = itertools.count(1)


def _created(model: type[Model], values: dict[str, Any]) -> Any:
    row = model._default_manager.create(**values)
    row.refresh_from_db()
    return row


def _id(user: Any) -> Any:
    return customer().pk if user is None else getattr(user, "pk", user)


def customer(**values: Any) -> User:
    """A customer with an address of their own; the database adds the free subscription."""
    row: User = _created(User, {"email": f"customer{next(_numbers)}@example.com"} | values)
    return row


def api_key(user: Owner = None, **values: Any) -> ApiKey:
    """A key's row alone, whose hash is of no key; `issued_key` makes one that opens something."""
    defaults = {"key_prefix": "glyph_sk_dev_abc", "key_hash": "$2b$12$x"}
    row: ApiKey = _created(ApiKey, {"user_id": _id(user), **defaults} | values)
    return row


def issued_key(user: User | None = None, **values: Any) -> lifecycle.IssuedKey:
    """A usable key together with its raw text."""
    defaults = {"environment": ApiKey.Environment.PRODUCTION, "actor": "test", "reason": "needed"}
    return lifecycle.issue(user or customer(), **defaults | values)


def subscription(user: Owner = None, **values: Any) -> Subscription:
    """A paid subscription of Starter; a live one ends the one before, as when Stripe reports it, unless a duplicate."""
    user_id = _id(user)
    if values.get("status", "active") in Subscription.LIVE and not values.get("is_duplicate"):
        live = Subscription.objects.filter(user_id=user_id, status__in=Subscription.LIVE, is_duplicate=False)
        live.update(status="canceled", canceled_at=timezone.now())
    defaults = {
        "tier": Tier.STARTER,
        "stripe_subscription_id": f"sub_{next(_numbers):06}",
        "stripe_price_id": "price_starter",
        "price_cents": 2900,
        "current_period_start": timezone.now() - timedelta(days=10),
        "current_period_end": timezone.now() + timedelta(days=20),
    }
    row: Subscription = _created(Subscription, {"user_id": user_id, **defaults} | values)
    return row


def payment(user: Owner = None, **values: Any) -> Payment:
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
    row: Payment = _created(Payment, {"user_id": _id(user), **defaults} | values)
    return row


def open_invoice(subscription_row: Subscription | None = None, **values: Any) -> OpenInvoice:
    """An invoice of a subscription, a past due one unless given, whose first try failed three days ago."""
    row = subscription_row or subscription(status="past_due")
    number = next(_numbers)
    defaults = {
        "user_id": row.user_id,
        "subscription": row,
        "stripe_invoice_id": f"in_{number:06}",
        "number": f"A1B2C3D4-{number:04}",
        "status": OpenInvoice.Status.OPEN,
        "amount_due_cents": 2900,
        "attempt_count": 1,
        "next_attempt_at": timezone.now() + timedelta(days=2),
        "overdue_since": timezone.now() - timedelta(days=3),
        "failure_code": "card_declined",
        "decline_code": "insufficient_funds",
        "hosted_invoice_url": "https://invoice.stripe.com/i/1",
    }
    invoice: OpenInvoice = _created(OpenInvoice, defaults | values)
    return invoice


def requests(user: Owner | SQL, count: int = 1, *, table: str = "api_usage", **values: Any) -> None:
    """That many requests of a customer, in one statement; an expression may count them as `n`, from 1.

    `user` may be an expression, `table` a partition.
    """
    defaults = {"endpoint": "/v1/glyphs", "method": "GET", "status_code": 200, "response_time_ms": 20}
    names, expressions, parameters = columns_of({"user_id": _id(user), **defaults} | values)
    run(f"INSERT INTO {table} ({names}) SELECT {expressions} FROM generate_series(1, {count}) AS n", *parameters)


def forget_older_requests() -> None:
    """Has the requests that other tests rolled back count as folded: a sequence does not take their ids back."""
    run("SELECT fold_traffic(%s)", 10**12)


def webhook_event(**values: Any) -> WebhookEvent:
    """An event whose processing failed once; in any other state than failed or dead it was not tried yet."""
    defaults = {
        "stripe_event_id": f"evt_{next(_numbers):06}",
        "event_type": "invoice.paid",
        "payload": {"data": {"object": {"customer": "cus_none"}}},
        "status": WebhookEvent.Status.FAILED,
    }
    if values.get("status", "failed") in {"failed", "dead"}:
        defaults |= {"attempts": 1, "last_error": "Stripe did not answer in time."}
    row: WebhookEvent = _created(WebhookEvent, defaults | values)
    return row


def stripe_request(user: Owner = None, **values: Any) -> StripeRequest:
    """A cancellation that may have been made."""
    defaults = {
        "kind": StripeRequest.Kind.CANCEL_NOW,
        "stripe_object_id": f"sub_{next(_numbers):06}",
        "row_id": uuid4(),
        "idempotency_key": f"key-{next(_numbers)}",
        "state": StripeRequest.State.UNKNOWN,
        "audit_id": 1,
        "actor": "ada",
        "reason": "asked by the customer",
    }
    row: StripeRequest = _created(StripeRequest, {"user_id": _id(user), **defaults} | values)
    return row


def stripe_price(price_id: str, **values: Any) -> str:
    """The id of a recurring price of Stripe's that nothing names the tier of, mirrored here; `values` are Stripe's."""
    Product.objects.get_or_create(id="prod_1", defaults={"name": "Pro plan", "livemode": False, "stripe_data": {}})
    said = {"id": price_id, "active": True, "type": "recurring", "product": "prod_1", "currency": "usd"}
    said |= {"unit_amount": 24900, "recurring": {"interval": "year", "interval_count": 1}} | values
    Price.objects.create(
        id=price_id, product_id="prod_1", active=True, currency="usd", livemode=False, stripe_data=said
    )
    return price_id


def alert(**values: Any) -> Alert:
    """A critical alert about the webhook event `object_id`; all but pending ones have fired."""
    name = values.get("object_id", f"evt_{next(_numbers):06}")
    defaults = {
        "fingerprint": f"failed_webhooks:{name}",
        "alert_type": "failed_webhooks",
        "subject": f"invoice.paid {name}",
        "message": "Given up after 8 attempts",
        "remediation": "Map the price, then retry.",
        "severity": "critical",
        "state": "firing",
        "fired_at": None if values.get("state") == "pending" else timezone.now(),
        "object_type": "webhook_event",
        "object_id": name,
    }
    row: Alert = _created(Alert, defaults | values)
    return row


def job_schedule(**values: Any) -> JobSchedule:
    """The daily schedule of the job `partitions`, next due in an hour."""
    defaults = {
        "job": "partitions",
        "description": "",
        "cron": "0 1 * * *",
        "timeout_seconds": 60,
        "interval_seconds": 86400,
        "grace_seconds": 600,
        "next_due_at": ago("-1 hour"),
    }
    row: JobSchedule = _created(JobSchedule, defaults | values)
    return row


def worker(**values: Any) -> WorkerHeartbeat:
    """The pusher of a worker that lives."""
    defaults = {"host": "worker1", "pid": next(_numbers), "cluster_pid": 1, "role": WorkerHeartbeat.Role.PUSHER}
    row: WorkerHeartbeat = _created(WorkerHeartbeat, defaults | values)
    return row


def staff(role: str, *, username: str = "", **values: Any) -> Any:
    """A member of staff in the role's group; without a password they sign in elsewhere."""
    user = get_user_model().objects.create_user(username or f"{role}{next(_numbers)}", is_staff=True, **values)
    user.groups.add(Group.objects.get(name=role))
    return user
