"""Bring our rows in line with the current state of whatever an event is about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db.models import Q

from billing.models import Difference, Payment, PaymentMovement, StripeCustomer, Subscription
from billing.stripe import charge_history, customer_lock, gateway, mirror, objects, tiers, tombstones
from billing.stripe.charge_history import ChargeHistory
from billing.stripe.errors import ForeignError, MissingError, PermanentError
from billing.stripe.events.event_object import EventObject, identifier
from billing.stripe.events.told_moments import told_moments
from billing.stripe.projection import (
    foreign,
    open_invoices,
    owners,
    payments,
    prices,
    subscriptions,
    transfer,
    users,
)
from billing.stripe.projection.movements import Told
from billing.stripe.projection.rows import write
from billing.stripe.reconciliation import comparison, discrepancies
from billing.stripe.unstorable import explained

logger = logging.getLogger(__name__)

# What is nothing to us without a customer; the mirror does not take it either.
OF_CUSTOMERS = frozenset({"invoice", "invoiceitem"})


def handle(event_object: EventObject) -> str | None:
    """Fetch, mirror and project what the event is about, under its customer's lock; says why that is none of ours.

    Runs inside the caller's transaction. Raises the errors of `billing.stripe.errors`, and CatalogueMissingError.
    """
    customer_lock.acquire(_owner(event_object) or event_object.object_id)
    with explained(f"{event_object.kind} {event_object.object_id}", undo=False):
        try:
            HANDLERS[event_object.kind](event_object)
        except ForeignError as error:
            if event_object.customer_id:
                foreign.dismiss(event_object.customer_id)
            return str(error)
    return None


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
    discount = mirror.customer_discount(customer_id)
    customer: objects.Customer = mirror.store(gateway.retrieve("customer", customer_id))
    if customer.get("deleted"):
        _delete_customer(customer_id)
        return
    subscriptions.ensure_free(users.project(customer))
    _follow_metadata(customer)
    if customer.get("discount") != discount:
        try:
            _project_live(customer_id)
        except PermanentError:  # of one whose own event waits
            logger.warning("what customer %s pays is not worked out anew", customer_id, exc_info=True)


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
    mirror.mark_deleted("customer", customer_id)
    user = users.delete_customer(customer_id)
    for row in Subscription.objects.filter(stripe_customer_id=customer_id, status__in=Subscription.LIVE):
        try:
            handle_subscription(str(row.stripe_subscription_id))
        except MissingError:  # gone with its customer
            write(row, {"status": Subscription.Status.CANCELED})
            open_invoices.project_all_of(row)
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
    handle_charge(event_object.object_id, event_object)


def handle_charge(charge_id: str, event_object: EventObject | None = None) -> None:
    """Bring one charge's payment in line, with what only the event tells; the caller holds the customer's lock.

    Raises MissingError when Stripe does not know it.
    """
    known = set(PaymentMovement.objects.filter(payment__stripe_charge_id=charge_id).values_list("kind", flat=True))
    about = event_object.kind if event_object else ""
    history = charge_history.complete(
        gateway.retrieve("charge", charge_id),
        refunded=about == "refund" or PaymentMovement.Kind.REFUND in known,
        disputed=about == "dispute" or PaymentMovement.Kind.DISPUTE in known,
    )
    project_charge(history, told_moments(event_object) if event_object else None)


def project_charge(history: ChargeHistory, told: Told | None = None) -> None:
    """Mirror and project a charge, and what it says of the invoice that it tried to pay.

    `told` are the moments that an event tells. The caller holds the customer's lock.
    """
    charge_history.store(history)
    payment = payments.project(history, told)
    if payment:
        open_invoices.project_tried_by(payment)


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
        handle_charge(charge_id, event_object)


def _refund(event_object: EventObject) -> None:
    # A refund of a customer's balance has no charge and changes no payment.
    if charge_id := identifier(event_object.payload.get("charge")):
        handle_charge(charge_id, event_object)


def _discount(event_object: EventObject) -> None:
    """A discount changes what the customer's subscriptions cost, whichever of them carries it."""
    if event_object.customer_id:
        handle_customer(event_object.customer_id)
        _project_live(event_object.customer_id)


def _project_live(customer_id: str) -> None:
    """Work out anew what the customer's live subscriptions cost."""
    live = Subscription.objects.filter(
        stripe_customer_id=customer_id, status__in=Subscription.LIVE, stripe_subscription_id__isnull=False
    )
    for stripe_id in live.values_list("stripe_subscription_id", flat=True):
        handle_subscription(str(stripe_id))


def _invoice(event_object: EventObject) -> None:
    invoice: objects.Invoice | None = _deletable(event_object)
    if invoice:
        project_invoice(invoice)
    else:
        open_invoices.remove(event_object.object_id)


def handle_invoice(invoice_id: str) -> None:
    """Bring what is owed of an invoice in line, also when Stripe knows it no more; the caller holds the lock."""
    try:
        project_invoice(mirror.store(gateway.retrieve("invoice", invoice_id)))
    except MissingError:  # a draft that was deleted
        mirror.mark_deleted("invoice", invoice_id)
        open_invoices.remove(invoice_id)


def project_invoice(invoice: objects.Invoice) -> None:
    """Project a mirrored invoice: the link of the payments that paid it, or tried to, and what is still owed of it."""
    payments.link_invoice(invoice)
    open_invoices.project(invoice)


def _mirrored(event_object: EventObject) -> None:
    _deletable(event_object)


def _deletable(event_object: EventObject) -> Any:
    """Mirror an object of a kind that Stripe really deletes (drafts, prices, coupons …); None when it is gone."""
    if event_object.event_type == f"{event_object.kind}.deleted":
        tombstones.add_tombstone(event_object.kind, event_object.object_id)
    if not tombstones.has_tombstone(event_object.object_id):
        try:
            fetched = gateway.retrieve(event_object.kind, event_object.object_id)
        except MissingError:
            logger.info("%s %s is gone at Stripe", event_object.kind, event_object.object_id)
        else:
            if event_object.kind in OF_CUSTOMERS and not identifier(fetched.get("customer")):
                raise ForeignError(f"The {event_object.kind} {event_object.object_id} is of no customer.")
            return mirror.store(fetched)
    mirror.mark_deleted(event_object.kind, event_object.object_id)
    return None


def _price(event_object: EventObject) -> None:
    """A price that sells a tier since repairs what waited for it, and moves who has it."""
    was_foreign = tiers.is_named_foreign(event_object.object_id)
    price: objects.Price | None = _deletable(event_object)
    tier = tiers.tier_of(price) if price else None
    if tier or was_foreign:
        prices.follow(event_object.object_id, tier)


def _product(event_object: EventObject) -> None:
    """A product that is foreign since, or is not any more, takes its prices along."""
    was_foreign = tiers.is_named_foreign(event_object.object_id)
    _deletable(event_object)
    if tiers.is_named_foreign(event_object.object_id) != was_foreign:
        for price_id, tier in prices.sold_by(event_object.object_id).items():
            prices.follow(price_id, tier)


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
    "product": _product,
    "refund": _refund,
    "subscription": _subscription,
}
