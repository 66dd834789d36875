"""Field by field: what our rows say about an object, and what Stripe says. Reads, never writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.models import Difference, Payment, Subscription, User
from billing.stripe import gateway, mirror, tombstones
from billing.stripe.errors import PermanentError
from billing.stripe.projection import payments, subscriptions, users
from billing.stripe.subject import identifier

Json = dict[str, Any]
Kind = Difference.Kind


@dataclass(frozen=True)
class Finding:
    """One disagreement. ``here`` and ``there`` are readable values, None for what is absent."""

    kind: str
    object_kind: str
    stripe_id: str
    customer_id: str | None = None
    user_id: UUID | None = None
    field: str = ""
    here: str | None = None
    there: str | None = None


def customer(data: Json) -> list[Finding]:
    """Compare a customer with its user."""
    user = User.objects.filter(stripe_customer_id=data["id"]).first()
    if user is None:
        return [Finding(Kind.MISSING_HERE, "customer", data["id"], data["id"], there=data.get("email"))]
    subject = Finding(Kind.DIFFERS, "customer", data["id"], data["id"], user.pk)
    if data.get("deleted") or tombstones.is_buried(data["id"]):
        return _differing(subject, user, {"status": User.Status.DELETED})
    found = _differing(subject, user, _or_problem(lambda: users.values(data, user), "email"))
    # What the customer's subscriptions cost is worked out with the discount that was mirrored last.
    here, there = _coupon(mirror.customer_discount(data["id"])), _coupon(data.get("discount"))
    return found if here == there else [*found, replace(subject, field="discount", here=here, there=there)]


def subscription(data: Json) -> list[Finding]:
    """Compare a subscription with its row; an unmapped price is a difference in ``tier``."""
    customer_id = identifier(data["customer"])
    row = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
    if row is None:
        return [Finding(Kind.MISSING_HERE, "subscription", data["id"], customer_id, there=data["status"])]
    wanted = _or_problem(lambda: subscriptions.values(data), "tier")
    return _differing(Finding(Kind.DIFFERS, "subscription", data["id"], customer_id, row.user_id), row, wanted)


def charge(data: Json) -> list[Finding]:
    """Compare a charge with its payment; a charge of no customer is not our business."""
    customer_id = identifier(data.get("customer"))
    if customer_id is None:
        return []
    row = Payment.objects.filter(stripe_charge_id=data["id"]).first()
    if row is None:
        there = f"{data['amount']} {data['currency']} {data['status']}"
        return [Finding(Kind.MISSING_HERE, "charge", data["id"], customer_id, there=there)]
    # An event of a dispute may be among what never arrived, and changes nothing at the charge.
    disputes = gateway.disputes(data["id"]) if data.get("disputed") else []
    subject = Finding(Kind.DIFFERS, "charge", data["id"], customer_id, row.user_id)
    return _differing(subject, row, payments.values(data, disputes))


def _coupon(discount: Json | None) -> str | None:
    coupon = (discount or {}).get("coupon")
    return identifier(coupon)


def owner(kind: str, stripe_id: str) -> User | None:
    """Whose row it is that we have of an object."""
    if kind == "customer":
        return User.objects.filter(stripe_customer_id=stripe_id).first()
    if kind == "subscription":
        return User.objects.filter(subscriptions__stripe_subscription_id=stripe_id).first()
    return User.objects.filter(payments__stripe_charge_id=stripe_id).first()


COMPARE: dict[str, Callable[[Json], list[Finding]]] = {
    "customer": customer,
    "subscription": subscription,
    "charge": charge,
}


def _or_problem(values: Callable[[], Json], field: str) -> Json:
    """The wanted values, or what stands in their way as the value of ``field``."""
    try:
        return values()
    except PermanentError as error:
        return {field: str(error)}


def _differing(subject: Finding, row: Any, wanted: Json) -> list[Finding]:
    return [
        replace(subject, field=name, here=_readable(getattr(row, name)), there=_readable(value))
        for name, value in wanted.items()
        if getattr(row, name) != value
    ]


def _readable(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)
