"""Bring our rows in line with the current state of whatever an event is about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db.models import Q

from billing.models import Difference, Payment, StripeCustomer, Subscription
from billing.stripe import customer_lock, gateway, mirror, objects, tombstones
from billing.stripe.errors import MissingError, PermanentError
from billing.stripe.events import inbox
from billing.stripe.events.event_object import EventObject, identifier
from billing.stripe.projection import owners, payments, prices, subscriptions, transfer, users
from billing.stripe.projection.rows import write
from billing.stripe.reconciliation import comparison, discrepancies
from billing.stripe.unstorable import explained

logger = logging.getLogger(__name__)


def handle(event_object: EventObject) -> None:
    """Fetch, mirror and project what the event is about, under its customer's lock.

    Runs inside the caller's transaction. Raises the errors of `billing.stripe.errors`, and CatalogueMissingError.
    """
    customer_lock.acquire(_owner(event_object) or event_object.object_id)
    with explained(f"{event_object.kind} {event_object.object_id}"):
        HANDLERS[event_object.kind](event_object)


def _owner(event_object: EventObject) -> str | None:
    """The customer whose rows are touched. Disputes do not say; their charge does."""
    if event_object.customer_id or event_object.kind not in ("dispute", "refund"):
        return event_object.customer_id
    charge_id = identifier(event_object.payload.get("charge"))
    if charge_id is None:
        return None
    known = Payment.objects.filter(stripe_charge_id=charge_id).values_list("stripe_customer_id", flat=True)
    # Read without the lock only to learn whose lock it is: a charge never changes its customer.
    return known.first() or identifier(gateway.retrieve("charge", charge_id).get("customer"))


def _customer(event_object: EventObject) -> None:
    handle_customer(event_object.object_id, deleted=event_object.event_type == "customer.deleted")


def handle_customer(customer_id: str, *, deleted: bool = False) -> None:
    """Bring one customer's user in line; the caller holds its lock.

    A deletion is final and Stripe's word in the event is enough: the customer is not fetched, and its subscriptions
    were ended with it, see https://docs.stripe.com/api/customers/delete. Raises MissingError for a customer that Stripe
    does not know, UnlinkedCustomerError for one that only a person can link.
    """
    if deleted or tombstones.has_tombstone(customer_id):
        _delete_customer(customer_id)
        return
    customer: objects.Customer = mirror.store(gateway.retrieve("customer", customer_id))
    if customer.get("deleted"):
        _delete_customer(customer_id)
    else:
        subscriptions.ensure_free(users.project(customer))
        _follow_metadata(customer)


def _follow_metadata(customer: objects.Customer) -> None:
    """Metadata that came a moment after the customer is followed; of one that is changed later support decides."""
    found = comparison.other_owner(customer)
    user = owners.named(customer.get("metadata")) if found else None
    if user and owners.is_undecided(customer["id"]):
        transfer.move(customer["id"], user)
        found = []
    reported = discrepancies.report(None, found)
    outdated = Q(kind=Difference.Kind.OTHER_OWNER, object_kind="customer", stripe_id=customer["id"])
    discrepancies.close(outdated & ~Q(pk__in=reported), Difference.Status.GONE)


def _delete_customer(customer_id: str) -> None:
    if tombstones.has_tombstone(customer_id) and not StripeCustomer.objects.filter(pk=customer_id).exists():
        return  # its user came back with another customer
    user = users.delete_customer(customer_id)
    mirror.mark_deleted("customer", customer_id)
    for row in Subscription.objects.filter(stripe_customer_id=customer_id, status__in=Subscription.LIVE):
        try:
            handle_subscription(str(row.stripe_subscription_id))
        except MissingError:  # gone with its customer
            write(row, {"status": Subscription.Status.CANCELED})
    subscriptions.settle(user)


def _subscription(event_object: EventObject) -> None:
    handle_subscription(event_object.object_id)


def handle_subscription(subscription_id: str) -> None:
    """Bring one subscription's row in line; the caller holds the customer's lock.

    Raises MissingError when Stripe does not know it, and what `project_subscription` raises.
    """
    project_subscription(gateway.retrieve("subscription", subscription_id))


def project_subscription(fetched: Any) -> None:
    """Mirror and project a fetched subscription; the caller holds the customer's lock.

    Raises UnmappedPriceError when no tier claims its prices, UnstorableError when it does not fit. Of a canceled one
    that is known here the end is written nevertheless.
    """
    try:
        with explained(f"subscription {fetched['id']}"):
            data = mirror.store(fetched)
            subscriptions.project(data)
            transfer.follow_sale(str(identifier(data.get("customer"))), data.get("metadata"))
    except PermanentError:
        if not subscriptions.project_end(gateway.as_json(fetched)):
            raise
        logger.warning("of subscription %s only the end is stored", fetched["id"], exc_info=True)


def _charge(event_object: EventObject) -> None:
    handle_charge(event_object.object_id)


def handle_charge(charge_id: str) -> None:
    """Bring one charge's payment in line; the caller holds the customer's lock.

    Raises MissingError when Stripe does not know it.
    """
    payments.project(mirror.store(gateway.retrieve("charge", charge_id)))


def _checkout_session(event_object: EventObject) -> None:
    """A checkout says whose its customer is, once it was paid."""
    session: objects.CheckoutSession = gateway.as_json(gateway.retrieve("checkout.session", event_object.object_id))
    customer_id = identifier(session.get("customer"))
    if customer_id is None:
        return
    names = owners.names_of_checkout(session)
    user = users.of_customer(customer_id, names)
    subscriptions.ensure_free(user)
    transfer.follow_sale(customer_id, names)
    mirror.keep_checkout(session)


def _dispute(event_object: EventObject) -> None:
    dispute: objects.Dispute = mirror.store(gateway.retrieve("dispute", event_object.object_id))
    if charge_id := identifier(dispute.get("charge")):
        handle_charge(charge_id)


def _refund(event_object: EventObject) -> None:
    # A refund of a customer's balance has no charge and changes no payment.
    if charge_id := identifier(event_object.payload.get("charge")):
        handle_charge(charge_id)


def _discount(event_object: EventObject) -> None:
    """A discount changes what the customer's subscriptions cost, whichever of them carries it."""
    if event_object.customer_id is None:
        return
    handle_customer(event_object.customer_id)
    live = Subscription.objects.filter(
        stripe_customer_id=event_object.customer_id,
        status__in=Subscription.LIVE,
        stripe_subscription_id__isnull=False,
    )
    for stripe_id in live.values_list("stripe_subscription_id", flat=True):
        handle_subscription(str(stripe_id))


def _invoice(event_object: EventObject) -> None:
    invoice: objects.Invoice | None = _deletable(event_object)
    if invoice:
        payments.link_invoice(invoice)


def _mirrored(event_object: EventObject) -> None:
    _deletable(event_object)


def _deletable(event_object: EventObject) -> Any:
    """Mirror an object of a kind that Stripe really deletes (drafts, prices, coupons …); None when it is gone."""
    if event_object.event_type == f"{event_object.kind}.deleted":
        tombstones.add_tombstone(event_object.kind, event_object.object_id)
    if not tombstones.has_tombstone(event_object.object_id):
        try:
            return mirror.store(gateway.retrieve(event_object.kind, event_object.object_id))
        except MissingError:
            logger.info("%s %s is gone at Stripe", event_object.kind, event_object.object_id)
    mirror.mark_deleted(event_object.kind, event_object.object_id)
    return None


def _price(event_object: EventObject) -> None:
    """A price that sells a tier since repairs what waited for it, and moves who has it."""
    price: objects.Price | None = _deletable(event_object)
    tier = prices.tier_of(price) if price else None
    if tier is not None:
        inbox.retry_waiting(event_object.object_id)
        prices.move_subscribers(event_object.object_id, tier)


HANDLERS: dict[str, Callable[[EventObject], None]] = {
    "charge": _charge,
    "checkout.session": _checkout_session,
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
