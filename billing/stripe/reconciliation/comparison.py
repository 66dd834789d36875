"""Field by field: what our rows say about an object, and what Stripe says. Reads, never writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.models import Difference, Payment, StripeCustomer, Subscription, User
from billing.stripe import gateway, mirror, objects, tombstones
from billing.stripe.errors import PermanentError, UnstorableError
from billing.stripe.events.event_object import identifier
from billing.stripe.projection import owners, payments, subscriptions, users
from billing.stripe.projection.rows import Columns, problem
from billing.stripe.unstorable import explained

Kind = Difference.Kind


@dataclass(frozen=True)
class Finding:
    """One disagreement. `local_value` and `stripe_value` are readable values, None for what is absent.

    `note` says why it cannot be repaired, where that is known already.
    """

    kind: str
    object_kind: str
    stripe_id: str
    customer_id: str | None = None
    user_id: UUID | None = None
    field: str = ""
    local_value: str | None = None
    stripe_value: str | None = None
    note: str | None = None


def customer(data: objects.Customer) -> list[Finding]:
    """Compare a customer with its user; `data` is the customer as JSON, as for every comparison here.

    The discount is compared with the one that was mirrored last.
    """
    link = StripeCustomer.objects.select_related("user").filter(pk=data["id"]).first()
    if link is None:
        return [Finding(Kind.MISSING_LOCALLY, "customer", data["id"], data["id"], stripe_value=data.get("email"))]
    user = link.user
    subject = Finding(Kind.DIFFERS, "customer", data["id"], data["id"], user.pk)
    if data.get("deleted") or tombstones.has_tombstone(data["id"]):
        gone = [] if link.deleted_at else [replace(subject, field="deleted_at", stripe_value="deleted")]
        others = owners.living(user).exclude(pk=link.pk)
        return gone + ([] if others.exists() else _differing(subject, user, {"status": User.Status.DELETED}))
    found = _differing(subject, user, _or_problem(lambda: users.values(data, user), "email")) + other_owner(data)
    # What the customer's subscriptions cost is worked out with the discount that was mirrored last.
    local, stripe = _coupon(mirror.customer_discount(data["id"])), _coupon(data.get("discount"))
    if local == stripe:
        return found
    return [*found, replace(subject, field="discount", local_value=local, stripe_value=stripe)]


def other_owner(data: objects.Customer) -> list[Finding]:
    """That a customer's metadata names another user than the one it is linked to: a person decides."""
    user, named = owners.known(data["id"]), owners.named(data.get("metadata"))
    if user is None or named is None or named.pk == user.pk:
        return []
    return [
        Finding(
            Kind.OTHER_OWNER,
            "customer",
            data["id"],
            data["id"],
            user.pk,
            field="owner",
            local_value=str(user.pk),
            stripe_value=str(named.pk),
            note=f"Its metadata names {named}, it belongs to {user}: press Move or Keep on the page Differences.",
        )
    ]


def subscription(data: objects.Subscription) -> list[Finding]:
    """Compare a subscription with its row; an unmapped price, or one without an amount, is a difference in `tier`."""
    customer_id = identifier(data["customer"])
    row = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
    if row is None:
        return [Finding(Kind.MISSING_LOCALLY, "subscription", data["id"], customer_id, stripe_value=data["status"])]
    wanted = _or_problem(lambda: subscriptions.values(data), "tier")
    return _differing(Finding(Kind.DIFFERS, "subscription", data["id"], customer_id, row.user_id), row, wanted)


def charge(data: objects.Charge) -> list[Finding]:
    """Compare a charge with its payment; a charge of no customer is not our business.

    A disputed charge costs a request, as only its disputes say how they ended.
    """
    customer_id = identifier(data.get("customer"))
    if customer_id is None:
        return []
    row = Payment.objects.filter(stripe_charge_id=data["id"]).first()
    if row is None:
        charged = f"{data['amount']} {data['currency']} {data['status']}"
        return [Finding(Kind.MISSING_LOCALLY, "charge", data["id"], customer_id, stripe_value=charged)]
    # An event of a dispute may be among what never arrived, and changes nothing at the charge.
    disputes = gateway.disputes(data["id"]) if data.get("disputed") else []
    subject = Finding(Kind.DIFFERS, "charge", data["id"], customer_id, row.user_id)
    return _differing(subject, row, _or_problem(lambda: payments.values(data, disputes), "amount_cents"))


def _coupon(discount: objects.Discount | None) -> str | None:
    return identifier(discount.get("coupon")) if discount else None


def compare(kind: str, data: Any) -> list[Finding]:
    """Compare a customer, subscription or charge; one that cannot even be read is a difference whose note says so."""
    try:
        with explained(f"{kind} {data['id']}"):
            return COMPARE[kind](data)
    except UnstorableError as error:
        customer_id = data["id"] if kind == "customer" else identifier(data.get("customer"))
        user = owner(kind, data["id"])
        return [Finding(Kind.DIFFERS, kind, data["id"], customer_id, user.pk if user else None, note=str(error))]


def owner(kind: str, stripe_id: str) -> User | None:
    """The user whose row we have of a customer, subscription or charge at Stripe; None without one."""
    if kind == "customer":
        return owners.known(stripe_id)
    if kind == "subscription":
        return User.objects.filter(subscriptions__stripe_subscription_id=stripe_id).first()
    return User.objects.filter(payments__stripe_charge_id=stripe_id).first()


def customer_of(kind: str, stripe_id: str) -> str | None:
    """The Stripe customer of a row that we have of a customer, subscription or charge; None without one."""
    if kind == "customer":
        return stripe_id
    rows: Any = Subscription.objects.filter(stripe_subscription_id=stripe_id)
    if kind == "charge":
        rows = Payment.objects.filter(stripe_charge_id=stripe_id)
    found: str | None = rows.values_list("stripe_customer_id", flat=True).first()
    return found


COMPARE: dict[str, Callable[[Any], list[Finding]]] = {
    "customer": customer,
    "subscription": subscription,
    "charge": charge,
}


def _or_problem(values: Callable[[], Columns], field: str) -> Columns:
    """The wanted values, or what stands in their way as the value of `field`."""
    try:
        return values()
    except PermanentError as error:
        return {field: str(error)}


def _differing(subject: Finding, row: Any, wanted: Columns) -> list[Finding]:
    return [
        replace(
            subject,
            field=name,
            local_value=_readable(getattr(row, name)),
            stripe_value=_readable(value),
            note=f"{subject.object_kind} {subject.stripe_id} cannot be stored: {why_not}" if why_not else None,
        )
        for name, value in wanted.items()
        if getattr(row, name) != value
        for why_not in [problem(row, name, value)]
    ]


def _readable(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)
