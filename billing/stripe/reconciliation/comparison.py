"""Field by field: what our rows say about an object, and what Stripe says. Reads, never writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.models import Difference, OpenInvoice, Payment, Sold, StripeCustomer, Subscription, User
from billing.stripe import charge_history, mirror, objects, tombstones
from billing.stripe.errors import PermanentError, UnstorableError
from billing.stripe.events.event_object import identifier
from billing.stripe.projection import foreign, movements, open_invoices, owners, payments, subscriptions, users
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
    if link is None and foreign.is_known_as_only_foreign(data["id"]):
        return []
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
    """Compare a subscription with its row; an unmapped price, or one without an amount, is a difference in `tier`.

    So is a row of a foreign one.
    """
    customer_id = identifier(data["customer"])
    row = Subscription.objects.filter(stripe_subscription_id=data["id"]).first()
    if row is None and subscriptions.leaves_no_row(data):
        return []
    if row is None:
        return [Finding(Kind.MISSING_LOCALLY, "subscription", data["id"], customer_id, stripe_value=data["status"])]
    subject = Finding(Kind.DIFFERS, "subscription", data["id"], customer_id, row.user_id)
    if foreign.is_foreign_subscription(data):
        return _differing(subject, row, {"tier": Sold.FOREIGN})
    user = owner("customer", str(customer_id)) or row.user
    wanted = _or_problem(lambda: subscriptions.values(data), "tier")
    wanted |= {"user_id": user.pk, "stripe_customer_id": customer_id}
    if "status" in wanted:
        wanted["is_duplicate"] = subscriptions.is_duplicate_after(row, user, wanted)
    return _differing(subject, row, wanted)


def charge(data: objects.Charge) -> list[Finding]:
    """Compare a charge with its payment; a charge of no customer is not our business.

    A disputed charge costs a request, as only its disputes say how much they took.
    """
    customer_id = identifier(data.get("customer"))
    if customer_id is None:
        return []
    row = Payment.objects.filter(stripe_charge_id=data["id"]).first()
    if row is None and foreign.is_foreign_charge(data):
        return []
    if row is None:
        charged = f"{data['amount']} {data['currency']} {data['status']}"
        return [Finding(Kind.MISSING_LOCALLY, "charge", data["id"], customer_id, stripe_value=charged)]
    subject = Finding(Kind.DIFFERS, "charge", data["id"], customer_id, row.user_id)
    if foreign.is_foreign_charge(data, ask=False):
        return [replace(subject, field="amount_cents", local_value=str(row.amount_cents), stripe_value=Sold.FOREIGN)]
    user = owner("customer", customer_id) or row.user
    history = charge_history.complete(data)
    wanted = _or_problem(lambda: payments.values(history, row), "amount_cents")
    wanted |= {"user_id": user.pk, "stripe_customer_id": customer_id}
    if named := identifier(data.get("invoice")):
        wanted["stripe_invoice_id"] = named
    return _differing(subject, row, wanted) or _moved_otherwise(subject, row, history)


def _moved_otherwise(subject: Finding, row: Payment, history: charge_history.ChargeHistory) -> list[Finding]:
    """That the same totals come of other movements, as when a refund is dated on another day."""
    held = movements.held_by(row)
    right = movements.settled_with(movements.expected(history), held)
    if held == right:
        return []
    local, stripe = (
        movements.readable(sums.items() - others.items()) for sums, others in ((held, right), (right, held))
    )
    return [replace(subject, field="movements", local_value=local, stripe_value=stripe)]


def invoice(data: objects.Invoice) -> list[Finding]:
    """Compare an invoice with what is said to be owed of it, and with the payments that paid it or tried to.

    Only the invoice says which those are, so their columns about it are compared here and not with the charge.
    """
    customer_id = identifier(data.get("customer"))
    row = OpenInvoice.objects.filter(stripe_invoice_id=data["id"]).first()
    wanted = open_invoices.values(data)
    subject = Finding(Kind.DIFFERS, "invoice", data["id"], customer_id, row.user_id if row else None)
    found = []
    if row and wanted:
        found = _differing(subject, row, wanted)
    elif row:
        found = [replace(subject, field="status", local_value=row.status, stripe_value=data.get("status"))]
    elif wanted:
        charged = f"{wanted['amount_due_cents']} {wanted['currency']} {wanted['status']}"
        found = [replace(subject, kind=Kind.MISSING_LOCALLY, user_id=wanted["user_id"], stripe_value=charged)]
    if data.get("payments") is None:
        return found
    tried, columns = payments.tried(data), payments.columns_of(data)
    for payment in tried:
        found += _differing(_of_payment(payment, customer_id), payment, columns)
    others = Payment.objects.filter(stripe_invoice_id=data["id"]).exclude(pk__in=[payment.pk for payment in tried])
    return found + [finding for payment in others for finding in _unlinked(payment, customer_id)]


def missing_invoice(invoice_id: str) -> list[Finding]:
    """What our rows say about an invoice that Stripe does not know, as a draft that was deleted."""
    found = []
    row = OpenInvoice.objects.select_related("subscription").filter(stripe_invoice_id=invoice_id).first()
    if row:
        subject = Finding(Kind.DIFFERS, "invoice", invoice_id, row.subscription.stripe_customer_id, row.user_id)
        found.append(replace(subject, field="status", local_value=row.status))
    # Another invoice may have said already that it is the one.
    said = Difference.objects.filter(
        object_kind="charge", field="stripe_invoice_id", status=Difference.Status.OPEN, stripe_value__isnull=False
    )
    payments_here = Payment.objects.filter(stripe_invoice_id=invoice_id, stripe_charge_id__isnull=False)
    for payment in payments_here.exclude(stripe_charge_id__in=said.values("stripe_id")):
        found += _unlinked(payment, payment.stripe_customer_id)
    return found


def _of_payment(payment: Payment, customer_id: str | None) -> Finding:
    kind, stripe_id = (
        ("charge", payment.stripe_charge_id) if payment.stripe_charge_id else ("invoice", payment.stripe_invoice_id)
    )
    return Finding(Kind.DIFFERS, kind, str(stripe_id), customer_id, payment.user_id)


def _unlinked(payment: Payment, customer_id: str | None) -> list[Finding]:
    """That a payment names an invoice which does not name it; a charge of an older API version names its own."""
    charge = mirror.charge(str(payment.stripe_charge_id))
    if charge and identifier(charge.get("invoice")) == payment.stripe_invoice_id:
        return []
    return _differing(_of_payment(payment, customer_id), payment, {"stripe_invoice_id": None})


def _coupon(discount: objects.Discount | None) -> str | None:
    return identifier(discount.get("coupon")) if discount else None


def compare(kind: str, data: Any) -> list[Finding]:
    """Compare an object of one of the kinds in COMPARE; one that cannot be read is a difference whose note says so."""
    try:
        with explained(f"{kind} {data['id']}"):
            return COMPARE[kind](data)
    except UnstorableError as error:
        customer_id = data["id"] if kind == "customer" else identifier(data.get("customer"))
        user = owner(kind, data["id"])
        return [Finding(Kind.DIFFERS, kind, data["id"], customer_id, user.pk if user else None, note=str(error))]


def owner(kind: str, stripe_id: str) -> User | None:
    """The user whose row we have of an object at Stripe, of the kinds that are compared; None without one."""
    if kind == "customer":
        return owners.known(stripe_id)
    if kind == "subscription":
        return User.objects.filter(subscriptions__stripe_subscription_id=stripe_id).first()
    if kind == "invoice":
        return User.objects.filter(open_invoices__stripe_invoice_id=stripe_id).first()
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
    "invoice": invoice,
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
        if getattr(row, name) != value and not _is_erased(row, name)
        for why_not in [problem(row, name, value)]
    ]


def _is_erased(row: Any, name: str) -> bool:
    """Whether the column is a link to a document of a customer who was erased: it is not kept."""
    return name.endswith("_url") and User.objects.filter(pk=row.user_id, erased_at__isnull=False).exists()


def _readable(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)
