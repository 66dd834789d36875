"""Bring our rows in line with the current state of whatever an event is about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django_q.tasks import async_task

from billing.models import Payment, Subscription, User
from billing.stripe import customer_lock, gateway, inbox, mirror, tombstones
from billing.stripe.errors import MissingError
from billing.stripe.projection import payments, prices, subscriptions, users
from billing.stripe.projection.rows import write
from billing.stripe.subject import Subject, identifier

Json = dict[str, Any]
logger = logging.getLogger(__name__)


def follow(subject: Subject) -> None:
    """Fetch, mirror and project under the customer's lock; runs inside the caller's transaction."""
    customer_lock.take(_owner(subject) or subject.object_id)
    HANDLERS[subject.kind](subject)


def _owner(subject: Subject) -> str | None:
    """The customer whose rows are touched. Disputes do not say; their charge does."""
    if subject.customer_id or subject.kind not in ("dispute", "refund"):
        return subject.customer_id
    charge_id = identifier(subject.payload.get("charge"))
    if charge_id is None:
        return None
    known = Payment.objects.filter(stripe_charge_id=charge_id).values_list("user__stripe_customer_id", flat=True)
    # Read without the lock only to learn whose lock it is: a charge never changes its customer.
    return known.first() or identifier(gateway.retrieve("charge", charge_id).get("customer"))


def _customer(subject: Subject) -> None:
    follow_customer(subject.object_id, deleted=subject.event_type == "customer.deleted")


def follow_customer(customer_id: str, *, deleted: bool = False) -> None:
    """Bring one customer's user in line; the caller holds its lock.

    A deletion is final and Stripe's word in the event is enough; the customer's subscriptions were
    ended with it.
    """
    if deleted or tombstones.is_buried(customer_id):
        _bury_customer(customer_id)
        return
    customer = mirror.store(gateway.retrieve("customer", customer_id))
    if customer.get("deleted"):
        _bury_customer(customer_id)
    else:
        subscriptions.ensure_free(users.project(customer))


def _bury_customer(customer_id: str) -> None:
    if tombstones.is_buried(customer_id) and not User.objects.filter(stripe_customer_id=customer_id).exists():
        return  # its user came back with another customer
    user = users.bury(customer_id)
    mirror.mark_deleted("customer", customer_id)
    paid = Subscription.objects.filter(user=user, status__in=Subscription.LIVE, stripe_subscription_id__isnull=False)
    for row in paid:
        try:
            follow_subscription(str(row.stripe_subscription_id))
        except MissingError:  # gone with its customer
            write(row, {"status": Subscription.Status.CANCELED})


def _subscription(subject: Subject) -> None:
    follow_subscription(subject.object_id)


def follow_subscription(subscription_id: str) -> None:
    """Bring one subscription's row in line; the caller holds the customer's lock."""
    subscriptions.project(mirror.store(gateway.retrieve("subscription", subscription_id)))


def _charge(subject: Subject) -> None:
    follow_charge(subject.object_id)


def follow_charge(charge_id: str) -> None:
    """Bring one charge's payment in line; the caller holds the customer's lock."""
    payments.project(mirror.store(gateway.retrieve("charge", charge_id)))


def _dispute(subject: Subject) -> None:
    dispute = mirror.store(gateway.retrieve("dispute", subject.object_id))
    if charge_id := identifier(dispute.get("charge")):
        follow_charge(charge_id)


def _refund(subject: Subject) -> None:
    # A refund of a customer's balance has no charge and changes no payment.
    if charge_id := identifier(subject.payload.get("charge")):
        follow_charge(charge_id)


def _discount(subject: Subject) -> None:
    """A discount changes what the customer's subscriptions cost, whichever of them carries it."""
    if subject.customer_id is None:
        return
    follow_customer(subject.customer_id)
    live = Subscription.objects.filter(
        user__stripe_customer_id=subject.customer_id,
        status__in=Subscription.LIVE,
        stripe_subscription_id__isnull=False,
    )
    for stripe_id in live.values_list("stripe_subscription_id", flat=True):
        follow_subscription(str(stripe_id))


def _invoice(subject: Subject) -> None:
    invoice = _deletable(subject)
    if invoice:
        payments.link_invoice(invoice)


def _mirrored(subject: Subject) -> None:
    _deletable(subject)


def _deletable(subject: Subject) -> Json | None:
    """Mirror an object of a kind that Stripe really deletes (drafts, prices, coupons …); None when it is gone."""
    if subject.event_type == f"{subject.kind}.deleted":
        tombstones.bury(subject.kind, subject.object_id)
    if not tombstones.is_buried(subject.object_id):
        try:
            return mirror.store(gateway.retrieve(subject.kind, subject.object_id))
        except MissingError:
            logger.info("%s %s is gone at Stripe", subject.kind, subject.object_id)
    mirror.mark_deleted(subject.kind, subject.object_id)
    return None


def _price(subject: Subject) -> None:
    """A price that sells a tier since heals what waited for it, and moves who has it.

    Each customer is moved under a lock of its own, later.
    """
    price = _deletable(subject)
    tier = prices.tier_of(price) if price else None
    if tier is None:
        return
    inbox.wake(subject.object_id)
    moved = Subscription.objects.filter(stripe_price_id=subject.object_id, status__in=Subscription.LIVE).exclude(
        tier=tier
    )
    for customer_id in moved.values_list("user__stripe_customer_id", flat=True).distinct():
        async_task("billing.tasks.resync_customer", customer_id)


HANDLERS: dict[str, Callable[[Subject], None]] = {
    "charge": _charge,
    "coupon": _mirrored,
    "customer": _customer,
    "discount": _discount,
    "dispute": _dispute,
    "invoice": _invoice,
    "invoiceitem": _mirrored,
    "payment_intent": _mirrored,
    "payment_method": _mirrored,
    "price": _price,
    "product": _mirrored,
    "refund": _refund,
    "subscription": _subscription,
}
