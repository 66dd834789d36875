"""What is sold on the same Stripe account and declared to be none of ours: no user, row or revenue comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from billing.models import Payment, Sold, Subscription, UnmatchedCustomer, User
from billing.stripe import gateway, mirror, objects, tiers
from billing.stripe.errors import ForeignError, MissingError
from billing.stripe.events import inbox
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Charge, Invoice, InvoiceLine, Price

# Kind and object of what a customer has at Stripe.
Holding = tuple[str, Any]


def ours(subscription: objects.Subscription) -> objects.Subscription:
    """The subscription with its own items alone: a foreign one neither decides the plan nor costs."""
    items = subscription["items"]["data"]
    foreign = _foreign(item["price"] for item in items if item.get("price"))
    kept = [item for item in items if not item.get("price") or item["price"]["id"] not in foreign]
    return {**subscription, "items": {**subscription["items"], "data": kept}}


def is_foreign_subscription(subscription: objects.Subscription) -> bool | None:
    """Whether all items of a subscription are foreign; None for one without items."""
    if not subscription["items"]["data"]:
        return None
    return not ours(subscription)["items"]["data"]


def is_foreign_invoice(invoice: Invoice) -> bool | None:
    """Whether an invoice is for foreign things alone; None where no line has a price."""
    prices = [price for line in (invoice.get("lines") or {}).get("data", []) if (price := _price_of(line))]
    return {price["id"] for price in prices} <= _foreign(prices) if prices else None


def is_foreign_charge(charge: Charge, *, ask: bool = True) -> bool:
    """Whether a charge paid a foreign invoice, or belongs to no invoice and to who has nothing else.

    Where the invoice is not known here the customer's are asked for; with `ask` false nobody is.
    """
    customer_id = identifier(charge.get("customer"))
    if customer_id is None or not tiers.is_anything_foreign():
        return False
    invoice = mirror.invoice_of(charge) or (_invoice_at_stripe(customer_id, charge) if ask else None)
    verdict = is_foreign_invoice(invoice) if invoice else None
    if verdict is not None:
        return verdict
    return is_only_foreign(customer_id) if ask else bool(_verdict(mirror.holdings(customer_id)))


def is_only_foreign(customer_id: str) -> bool:
    """Whether a customer has subscriptions or invoices at Stripe, ended ones included, and all of them are foreign."""
    if not tiers.is_anything_foreign():
        return False
    try:
        return bool(_verdict(_holdings(customer_id)))
    except MissingError:
        return bool(_verdict(mirror.holdings(customer_id)))


def is_known_as_only_foreign(customer_id: str) -> bool:
    """As `is_only_foreign`, by what is mirrored; Stripe is asked where that is nothing."""
    if not tiers.is_anything_foreign():
        return False
    verdict = _verdict(mirror.holdings(customer_id))
    return is_only_foreign(customer_id) if verdict is None else verdict


def require_ours(customer_id: str) -> None:
    """Raise ForeignError for a customer of whom a user must not be made."""
    if is_only_foreign(customer_id):
        raise ForeignError(f"Stripe customer {customer_id} has only what is declared to be none of ours.")


def dismiss(customer_id: str) -> None:
    """Let nobody wait for a customer who turned out to be none of ours."""
    if UnmatchedCustomer.objects.filter(pk=customer_id).delete()[0]:
        inbox.retry_waiting(customer_id)


def forget_user(customer_id: str) -> None:
    """Remove the user that a customer with only foreign things got before that was known, payments included.

    Who signs in, has a key, notes, usage or another subscription, or is named by the customer's metadata, stays. The
    caller holds the customer's lock.
    """
    # Locked, so that none of that comes meanwhile.
    users = User.objects.select_for_update(of=("self",))
    user = users.filter(stripe_customers=customer_id, cognito_user_id__isnull=True).first()
    if (
        user is None
        or _has_something(user)
        or user.stripe_customers.count() > 1
        or str(user.pk) == mirror.customer_metadata(customer_id).get("user_id")
    ):
        return
    if is_only_foreign(customer_id):
        Payment.objects.filter(user=user).delete()
        user.delete()


def _has_something(user: User) -> bool:
    return (
        user.api_keys.exists()
        or user.notes.exists()
        or user.usage_months.exists()
        or user.stripe_customers.count() > 1
        or Subscription.objects.filter(user=user, stripe_subscription_id__isnull=False).exists()
    )


def _foreign(prices: Iterable[Price]) -> set[str]:
    return {price_id for price_id, tier in tiers.tiers_of(list(prices)).items() if tier == Sold.FOREIGN}


def _price_of(line: InvoiceLine) -> Price | None:
    """The price of an invoice's line, as far as it is known."""
    details = (line.get("pricing") or {}).get("price_details") or {}
    price_id = identifier(line.get("price") or line.get("plan") or details.get("price"))
    if price_id is None:
        return None
    return mirror.price(price_id) or {"id": price_id, "product": details.get("product") or "", "currency": ""}


def _verdict(holdings: Iterable[Holding]) -> bool | None:
    """Whether all of them are foreign; None where none says."""
    verdict = None
    for kind, item in holdings:
        foreign = is_foreign_subscription(item) if kind == "subscription" else is_foreign_invoice(item)
        if foreign is False:
            return False
        verdict = verdict or foreign
    return verdict


def _holdings(customer_id: str) -> Iterator[Holding]:
    for kind, filters in (("subscription", {"status": "all"}), ("invoice", {})):
        for item in gateway.iterate(kind, customer=customer_id, **filters):
            yield kind, gateway.as_json(item)


def _invoice_at_stripe(customer_id: str, charge: Charge) -> Invoice | None:
    paid_by = {charge["id"], identifier(charge.get("payment_intent"))} - {None}
    for item in gateway.iterate("invoice", customer=customer_id):
        invoice: Invoice = gateway.as_json(item)
        for member in (invoice.get("payments") or {}).get("data", []):
            payment = member.get("payment") or {}
            if paid_by & {identifier(payment.get("charge")), identifier(payment.get("payment_intent"))}:
                return invoice
    return None
