"""The synthetic customers as Stripe would know them: their rows, in the shape of the recorded objects.

Read once, when the local Stripe starts; from then on it is a side of its own, and what is changed in our tables
alone is a difference that reconciliation finds. Works without Django's apps: only the connection is used.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json

CUSTOMERS = """
    SELECT u.id, c.stripe_customer_id, u.email, u.name, u.created_at,
        CASE WHEN c.deleted_at IS NULL THEN u.status ELSE 'deleted' END AS status
    FROM stripe_customers AS c JOIN users AS u ON u.id = c.user_id
"""
SUBSCRIPTIONS = """
    SELECT * FROM subscriptions WHERE stripe_subscription_id IS NOT NULL AND stripe_customer_id IS NOT NULL
"""
CHARGES = """
    SELECT * FROM payment_history WHERE stripe_charge_id IS NOT NULL AND stripe_customer_id IS NOT NULL
"""
# Each with the charges that paid it, or tried to.
INVOICES = """
    WITH tried AS (
        SELECT
            stripe_invoice_id, stripe_customer_id, currency, max(invoice_url) AS invoice_url,
            max(attempt_count) AS attempts, max(next_attempt_at) AS next_attempt_at, max(amount_cents) AS amount_cents,
            min(created_at) AS created_at, max(paid_at) AS paid_at,
            array_agg(stripe_charge_id ORDER BY created_at) AS charges,
            array_agg(stripe_payment_intent_id ORDER BY created_at) AS payment_intents
        FROM payment_history
        WHERE stripe_invoice_id IS NOT NULL AND stripe_charge_id IS NOT NULL AND stripe_customer_id IS NOT NULL
        GROUP BY stripe_invoice_id, stripe_customer_id, currency
    )
    SELECT tried.*, s.stripe_subscription_id AS owed_for
    FROM tried
    LEFT JOIN open_invoices AS o USING (stripe_invoice_id)
    LEFT JOIN subscriptions AS s ON s.id = o.subscription_id
"""
# What went out again, and came back, of each payment: by refund or dispute.
MOVEMENTS = """
    SELECT
        m.stripe_object_id, m.currency, p.stripe_charge_id, p.stripe_payment_intent_id, u.stripe_customer_id,
        -sum(m.amount_cents) FILTER (WHERE m.kind IN ('refund', 'dispute')) AS amount_cents,
        coalesce(sum(m.amount_cents) FILTER (WHERE m.kind IN ('refund_failed', 'dispute_reversed')), 0) AS undone_cents,
        bool_or(m.kind = 'dispute') AS is_dispute,
        min(m.occurred_at) AS occurred_at
    FROM payment_movements AS m
    JOIN payment_history AS p ON p.id = m.payment_id
    JOIN users AS u ON u.id = p.user_id
    WHERE m.kind <> 'charge' AND p.stripe_charge_id IS NOT NULL AND u.stripe_customer_id IS NOT NULL
    GROUP BY m.stripe_object_id, m.currency, p.stripe_charge_id, p.stripe_payment_intent_id, u.stripe_customer_id
    HAVING -sum(m.amount_cents) FILTER (WHERE m.kind IN ('refund', 'dispute')) > 0
"""


def add_to(world: StripeWorld) -> int:
    """Make known to `world` whoever is in our tables and in no recording; returns how many objects that were.

    A subscription whose period has passed without news was renewed, or ended if it was to end with its period: of
    stale ones only our row is stale. Of recorded objects only what support did to them before is remembered.
    """
    models, now, before = Models(), datetime.now(UTC), len(world.objects)
    for row in _rows(CUSTOMERS):
        customer = _customer(models, row)
        if customer["id"] not in world.objects and not customer.get("deleted"):
            _add(world, _card(models, customer))
        _add(world, customer)
    for row in _rows(SUBSCRIPTIONS):
        if known := world.objects.get(row["stripe_subscription_id"]):
            known.update(_cancellation(known, row) | _plan(models, known, row))
        elif row["stripe_price_id"] in models.prices:
            _add(world, _subscription(models, row, now))
    for row in _rows(CHARGES):
        if known := world.objects.get(row["stripe_charge_id"]):
            known.update(_refunds(known, row))
            continue
        _add(world, _charge(models, row))
        if row["stripe_payment_intent_id"]:
            _add(world, _payment_intent(models, row))
    for row in _rows(INVOICES):
        _add(world, _invoice(models, row))
    for row in _rows(MOVEMENTS):
        _add(world, _dispute(models, row) if row["is_dispute"] else _refund(models, row))
    return len(world.objects) - before


def _add(world: StripeWorld, item: Json) -> None:
    world.objects.setdefault(item["id"], item)


# Brands with the last digits of a card.
CARDS = (
    ("visa", "4242"),
    ("visa", "1881"),
    ("visa", "0341"),
    ("mastercard", "4444"),
    ("mastercard", "8210"),
    ("amex", "0005"),
)


class Models:
    """A recorded object of each kind to copy: whatever the rows do not say is as recorded."""

    def __init__(self) -> None:
        names = ["signup_paid", *recordings.names()]  # first an uneventful one
        known = [item for name in names for item in recordings.load(name).objects.values()]
        first = {item["object"]: item for item in reversed(known) if not item.get("deleted")}
        self.customer = first["customer"]
        self.subscription = first["subscription"] | {"latest_invoice": None, "default_payment_method": None}
        self.item: Json = self.subscription["items"]["data"][0]
        self.prices = {item["id"]: item for item in known if item["object"] == "price"}
        self.charge = first["charge"] | {"balance_transaction": None, "payment_method": None}
        self.payment_intent = first["payment_intent"] | {"payment_method": None, "client_secret": None}
        self.payment_method = first["payment_method"]
        self.refund = first["refund"] | {"balance_transaction": None, "payment_method": None}
        self.invoice = first["invoice"] | {"default_payment_method": None, "discounts": []}
        self.catalogue = [item for item in known if item["object"] in ("account", "product", "price")]
        self.dispute = first["dispute"] | {"balance_transactions": [], "status": "lost"}


def _rows(query: str) -> Iterator[dict[str, Any]]:
    connection.ensure_connection()
    # The driver's cursor: Django's wants all apps to be ready, which this process never loads.
    with connection.connection.cursor() as cursor:
        cursor.execute(query)
        names = [column.name for column in cursor.description]
        while batch := cursor.fetchmany(1000):
            for row in batch:
                yield dict(zip(names, row, strict=True))


def _customer(models: Models, row: dict[str, Any]) -> Json:
    customer_id = row["stripe_customer_id"]
    if row["status"] == "deleted":
        return {"id": customer_id, "object": "customer", "deleted": True}
    return models.customer | {
        "id": customer_id,
        "created": _seconds(row["created_at"]),
        "email": row["email"],
        "invoice_settings": models.customer["invoice_settings"]
        | {"default_payment_method": f"pm_{customer_id.removeprefix('cus_')}"},
        "invoice_prefix": customer_id[-8:].upper(),
        "metadata": {"user_id": str(row["id"])},
        "name": row["name"],
    }


def _card(models: Models, customer: Json) -> Json:
    """The card that a customer pays with; one in twelve ends with this month."""
    method_id = customer["invoice_settings"]["default_payment_method"]
    drawn = random.Random(method_id)
    brand, last4 = drawn.choice(CARDS)
    today = datetime.now(UTC)
    ends = today if drawn.random() < 1 / 12 else today + timedelta(days=drawn.randint(90, 1500))
    card = {"brand": brand, "display_brand": brand, "last4": last4, "exp_month": ends.month, "exp_year": ends.year}
    return models.payment_method | {
        "id": method_id,
        "card": models.payment_method["card"] | card,
        "created": customer["created"],
        "customer": customer["id"],
    }


def _subscription(models: Models, row: dict[str, Any], now: datetime) -> Json:
    subscription_id = row["stripe_subscription_id"]
    status, ended_at = row["status"], row["canceled_at"]
    start, end = row["current_period_start"], row["current_period_end"]
    if status == "active" and end <= now:
        if row["cancel_at_period_end"]:
            status, ended_at = "canceled", end
        else:
            periods = (now - end) // (end - start) + 1
            start, end = start + periods * (end - start), end + periods * (end - start)
    item = models.item | {
        "id": f"si_{subscription_id.removeprefix('sub_')}",
        "created": _seconds(row["created_at"]),
        "current_period_start": _seconds(start),
        "current_period_end": _seconds(end),
        "price": models.prices[row["stripe_price_id"]],
        "quantity": row["quantity"],
        "subscription": subscription_id,
    }
    ends_with_period = row["cancel_at_period_end"] and status != "canceled"
    return models.subscription | {
        "id": subscription_id,
        "billing_cycle_anchor": _seconds(row["created_at"]),
        "cancel_at": _seconds(end) if ends_with_period else None,
        "cancel_at_period_end": row["cancel_at_period_end"],
        "canceled_at": _seconds(start) if ends_with_period else _seconds(ended_at),
        "created": _seconds(row["created_at"]),
        "currency": row["currency"],
        "customer": row["stripe_customer_id"],
        "ended_at": _seconds(ended_at),
        "items": models.subscription["items"] | {"data": [item]},
        "start_date": _seconds(row["created_at"]),
        "status": status,
        "trial_end": _seconds(row["trial_end"]),
        "trial_start": _seconds(start) if row["trial_end"] else None,
    }


def _cancellation(known: Json, row: dict[str, Any]) -> Json:
    """What support asked for in an earlier run of the local Stripe, of a subscription that lives in the recordings."""
    if known["status"] == "canceled":
        return {}
    if row["status"] == "canceled":
        ended_at = _seconds(row["canceled_at"])
        return {"status": "canceled", "canceled_at": ended_at, "ended_at": ended_at}
    if row["cancel_at_period_end"] == known["cancel_at_period_end"]:
        return {}
    ends = row["cancel_at_period_end"]
    end, start = _seconds(row["current_period_end"]), _seconds(row["current_period_start"])
    return {
        "cancel_at_period_end": ends,
        "cancel_at": end if ends else None,
        "canceled_at": start if ends else None,
    }


def _plan(models: Models, known: Json, row: dict[str, Any]) -> Json:
    """The price and quantity that support gave a recorded subscription in an earlier run of the local Stripe."""
    first, *others = known["items"]["data"]
    price = models.prices.get(row["stripe_price_id"])
    if price is None or known["status"] == "canceled" or first["price"]["id"] == price["id"]:
        return {}
    period = {name: _seconds(row[name]) for name in ("current_period_start", "current_period_end")}
    first = first | period | {"price": price, "quantity": row["quantity"]}
    return {"items": known["items"] | {"data": [first, *others]}}


def _refunds(known: Json, row: dict[str, Any]) -> Json:
    """What support gave back in an earlier run of the local Stripe, of a recorded charge."""
    refunded = max(known["amount_refunded"], row["refunded_cents"])
    return {"amount_refunded": refunded, "refunded": refunded == known["amount"]}


def _charge(models: Models, row: dict[str, Any]) -> Json:
    failed = row["status"] == "failed"
    return models.charge | {
        "id": row["stripe_charge_id"],
        "amount": row["amount_cents"],
        "amount_captured": 0 if failed else row["amount_cents"],
        "amount_refunded": row["refunded_cents"],
        "created": _seconds(row["created_at"]),
        "currency": row["currency"],
        "customer": row["stripe_customer_id"],
        "disputed": row["status"] == "disputed",
        "failure_code": row["failure_code"],
        "failure_message": row["failure_message"],
        "outcome": models.charge["outcome"] | {"type": "issuer_declined", "reason": row["decline_code"]}
        if failed
        else models.charge["outcome"],
        "paid": not failed,
        "payment_intent": row["stripe_payment_intent_id"],
        "receipt_url": row["receipt_url"],
        "refunded": row["status"] == "refunded",
        "status": "failed" if failed else "pending" if row["status"] == "pending" else "succeeded",
    }


def _invoice(models: Models, row: dict[str, Any]) -> Json:
    """Paid, still owed for a subscription, or given up where no charge succeeded."""
    owed_for = row["owed_for"]
    invoice_id, customer_id, amount, paid_at = (
        row[name] for name in ("stripe_invoice_id", "stripe_customer_id", "amount_cents", "paid_at")
    )
    tries = zip(row["charges"], row["payment_intents"], strict=True)
    paid_by = [{"type": "charge", "charge": charge, "payment_intent": intent} for charge, intent in tries]
    return models.invoice | {
        "id": invoice_id,
        "amount_due": amount,
        "amount_paid": amount if paid_at else 0,
        "amount_remaining": 0 if paid_at else amount,
        "attempt_count": row["attempts"],
        "created": _seconds(row["created_at"]),
        "currency": row["currency"],
        "customer": customer_id,
        "hosted_invoice_url": row["invoice_url"],
        "invoice_pdf": f"{row['invoice_url']}pdf" if row["invoice_url"] else None,
        "lines": models.invoice["lines"] | {"data": [], "url": f"/v1/invoices/{invoice_id}/lines"},
        "next_payment_attempt": _seconds(row["next_attempt_at"]),
        "number": f"{customer_id[-8:]}-{invoice_id[-4:]}".upper(),
        "parent": _parent(owed_for) if owed_for else None,
        "payments": {
            "object": "list",
            "has_more": False,
            "data": [{"object": "invoice_payment", "payment": payment} for payment in paid_by],
        },
        "status": "paid" if paid_at else "open" if owed_for else "void",
        "status_transitions": {"finalized_at": _seconds(row["created_at"]), "paid_at": _seconds(paid_at)},
        "subtotal": amount,
        "total": amount,
    }


def _parent(subscription_id: str) -> Json:
    """Of an invoice for a subscription: https://docs.stripe.com/api/invoices/object#invoice_object-parent"""
    details = {"subscription": subscription_id, "metadata": {}}
    return {"type": "subscription_details", "subscription_details": details, "quote_details": None}


def _payment_intent(models: Models, row: dict[str, Any]) -> Json:
    paid = row["status"] not in ("failed", "pending")
    return models.payment_intent | {
        "id": row["stripe_payment_intent_id"],
        "amount": row["amount_cents"],
        "amount_received": row["amount_cents"] if paid else 0,
        "created": _seconds(row["created_at"]),
        "currency": row["currency"],
        "customer": row["stripe_customer_id"],
        "description": "Subscription update",
        "latest_charge": row["stripe_charge_id"],
        "status": "succeeded" if paid else "requires_payment_method",
    }


def _refund(models: Models, row: dict[str, Any]) -> Json:
    status = "failed" if row["undone_cents"] else "succeeded"
    return models.refund | _of_charge("re", row) | {"customer": row["stripe_customer_id"], "status": status}


def _dispute(models: Models, row: dict[str, Any]) -> Json:
    return models.dispute | _of_charge("du", row) | {"status": "won" if row["undone_cents"] else "lost"}


def _of_charge(prefix: str, row: dict[str, Any]) -> Json:
    """What refunds and disputes have in common; one that is known by its charge alone gets an id."""
    known, charge_id = row["stripe_object_id"], row["stripe_charge_id"]
    return {
        "id": known if known != charge_id else f"{prefix}_{charge_id.partition('_')[2]}",
        "amount": int(row["amount_cents"]),
        "charge": charge_id,
        "created": _seconds(row["occurred_at"]),
        "currency": row["currency"],
        "payment_intent": row["stripe_payment_intent_id"],
    }


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
