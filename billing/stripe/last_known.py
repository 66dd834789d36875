"""What Stripe last said of a customer's invoices, discounts, balance and disputes: the mirror, read in one query."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F, Value
from djstripe import models

from billing.stripe.objects import Dispute, Invoice
from billing.stripe.projection.rows import moment

# https://docs.stripe.com/api/disputes/object#dispute_object-status
OPEN_DISPUTES = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
Known = tuple[Any, datetime]


@dataclass(frozen=True)
class OpenDispute:
    """A dispute or an inquiry that is not decided; evidence may be given until `due_at`."""

    dispute_id: str
    charge_id: str
    amount_cents: int
    currency: str
    reason: str
    status: str
    due_at: datetime | None

    @property
    def is_answered(self) -> bool:
        """Whether evidence was given, and the bank decides."""
        return self.status.endswith("under_review")


@dataclass
class LastKnown:
    """Objects as Stripe has them, each with the moment it was last heard of. `customers` are in no order.

    `disputes` are the open ones, the most urgent first; `invoices` the newest first.
    """

    customers: list[Known] = field(default_factory=list)
    subscription: Known | None = None
    invoices: list[tuple[Invoice, datetime]] = field(default_factory=list)
    disputes: list[OpenDispute] = field(default_factory=list)


def of_customers(customer_ids: Sequence[str], subscription_id: str | None, *, invoices: int) -> LastKnown:
    """What is known of a user's Stripe customers, of one of their subscriptions and of their newest invoices.

    One query; none for a user who was never at Stripe.
    """
    found = LastKnown()
    if not customer_ids:
        return found
    of_them = {"customer_id__in": customer_ids}
    rows = _rows("customer", models.Customer.objects.filter(id__in=customer_ids)).union(
        _rows("subscription", models.Subscription.objects.filter(id=subscription_id, **of_them)),
        _rows("invoice", models.Invoice.objects.filter(**of_them).order_by("-created", "-id")[:invoices]),
        _rows(
            "dispute",
            models.Dispute.objects.filter(charge__customer_id__in=customer_ids, stripe_data__status__in=OPEN_DISPUTES),
        ),
        all=True,
    )
    for kind, data, known_at in rows:
        if kind == "customer":
            found.customers.append((data, known_at))
        elif kind == "subscription":
            found.subscription = (data, known_at)
        elif kind == "invoice" and not data.get("deleted"):
            found.invoices.append((data, known_at))
        elif kind == "dispute":
            with suppress(AttributeError, LookupError, TypeError, ValueError):  # of an unknown form
                found.disputes.append(_dispute(data))
    found.invoices.sort(key=lambda known: str(known[0].get("created") or ""), reverse=True)
    found.disputes.sort(key=lambda dispute: (dispute.due_at is None, dispute.due_at, dispute.dispute_id))
    return found


def _rows(kind: str, objects: Any) -> Any:
    return objects.annotate(kind=Value(kind), data=F("stripe_data"), known_at=F("djstripe_updated")).values_list(
        "kind", "data", "known_at"
    )


def _dispute(data: Dispute) -> OpenDispute:
    charge = data.get("charge")
    return OpenDispute(
        dispute_id=data["id"],
        charge_id=charge if isinstance(charge, str) else str((charge or {}).get("id", "")),
        amount_cents=data["amount"],
        currency=data["currency"],
        reason=str(data.get("reason") or "general").replace("_", " "),
        status=data["status"],
        due_at=moment((data.get("evidence_details") or {}).get("due_by")),
    )
