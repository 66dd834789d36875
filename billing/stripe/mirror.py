"""The mirror: Stripe's objects as dj-stripe keeps them, synced from what the gateway fetched.

`billing.stripe.projection` turns it into our tables. Its objects are read through the functions below; only
`billing.admin.stripe_mirror` shows rows of dj-stripe's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Q
from djstripe import models
from djstripe.models.base import StripeModel
from psycopg.errors import NotNullViolation

from billing.stripe import gateway
from billing.stripe.errors import PermanentError
from billing.stripe.objects import Discount, Dispute, Invoice, Price

MODELS: dict[str, type[StripeModel]] = {
    "charge": models.Charge,
    "coupon": models.Coupon,
    "customer": models.Customer,
    "dispute": models.Dispute,
    "invoice": models.Invoice,
    "invoiceitem": models.InvoiceItem,
    "payment_intent": models.PaymentIntent,
    "payment_method": models.PaymentMethod,
    "price": models.Price,
    "product": models.Product,
    "subscription": models.Subscription,
}


def store(fetched: Any) -> Any:
    """Sync one object that the gateway fetched, and what it refers to; returns its JSON as it was mirrored.

    Which of `billing.stripe.objects` that is depends on its kind. Raises PermanentError when Stripe does not know what
    the object refers to, KeyError for a kind that is not in MODELS.
    """
    model = MODELS[fetched["object"]]
    sync = partial(model.sync_from_stripe_data, fetched, api_key=gateway.api_key())
    subject = f"{fetched['object']} {fetched['id']}"
    try:
        return dict(gateway.translate(sync, subject).stripe_data)
    except ObjectDoesNotExist as error:
        # dj-stripe asked for what the object refers to, got nothing, and could not insert the row without it.
        refused = getattr(error.__context__, "__cause__", None)
        if not isinstance(refused, NotNullViolation):
            raise
        name = str(refused.diag.column_name).removesuffix("_id")
        raise PermanentError(f"Stripe does not know the {name} of {subject}.") from error


def mark_deleted(kind: str, object_id: str) -> None:
    """Note in the mirror that the object is gone. The row stays: deleting it would cascade to its history."""
    for row in MODELS[kind].objects.filter(id=object_id):
        row.stripe_data = {**row.stripe_data, "deleted": True}
        row.save(update_fields=["stripe_data"])


def charge_disputes(charge_id: str) -> list[Dispute]:
    """The disputes of a charge that are known here."""
    return [row.stripe_data for row in models.Dispute.objects.filter(charge_id=charge_id)]


def customer_discount(customer_id: str) -> Discount | None:
    """The discount that a customer carries itself, if it is known here."""
    row = models.Customer.objects.filter(id=customer_id).first()
    return row.stripe_data.get("discount") if row else None


def invoice_paid_by(customer_id: str, charge_id: str, payment_intent_id: str | None) -> Invoice | None:
    """The oldest invoice of the customer, known here, that a charge or its payment intent paid or tried to pay.

    Needs the invoice's `payments`, which replaced a charge's `invoice` in API version 2025-03-31.
    """
    paid = Q(stripe_data__payments__data__contains=[{"payment": {"charge": charge_id}}])
    if payment_intent_id:
        paid |= Q(stripe_data__payments__data__contains=[{"payment": {"payment_intent": payment_intent_id}}])
    row = models.Invoice.objects.filter(paid, customer_id=customer_id).order_by("created").first()
    return row.stripe_data if row else None


def invoice(invoice_id: str) -> Invoice | None:
    """An invoice, if it is known here."""
    row = models.Invoice.objects.filter(id=invoice_id).first()
    return row.stripe_data if row else None


def recurring_prices() -> list[Price]:
    """The active recurring prices that are known here, newest first."""
    rows = models.Price.objects.filter(stripe_data__active=True, stripe_data__type="recurring")
    return [row.stripe_data for row in rows.order_by("-created")]


def product_names(product_ids: Iterable[str]) -> dict[str, str]:
    """The names of those of the products that are known here, by their ids."""
    return dict(models.Product.objects.filter(id__in=set(product_ids)).values_list("id", "name"))


def _owner_account(cls: type[models.Account], api_key: str) -> models.Account:
    """Stand in for dj-stripe's lookup, which stores the secret key in plain text in djstripe_apikey."""
    fetched = gateway.account()
    # A stub first: syncing an account looks for its owner, which is this very row.
    account, created = models.Account.objects.get_or_create(id=fetched["id"])
    if created:
        models.Account.sync_from_stripe_data(fetched, api_key=api_key)
        account.refresh_from_db()
    return account


def keep_api_keys_out_of_the_database() -> None:
    """Make dj-stripe find the owner account without storing the API key; called when Django is ready."""
    models.Account.get_or_retrieve_for_api_key = classmethod(_owner_account)
