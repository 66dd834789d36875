"""The mirror: Stripe's objects as dj-stripe keeps them, synced from what the gateway fetched.

`billing.stripe.projection` turns it into our tables. Its objects are read through the functions below; only
`billing.admin.stripe_mirror` shows rows of dj-stripe's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Q
from djstripe import models
from djstripe.models.base import StripeModel
from psycopg.errors import NotNullViolation

from billing.stripe import gateway, listed, listed_rows, tiers
from billing.stripe.errors import MissingError, PermanentError
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Charge, CheckoutSession, Customer, Discount, Dispute, Invoice, Price
from billing.stripe.unstorable import explained

T = TypeVar("T")

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
    "tax_rate": models.TaxRate,
}

# What is read from its own row alone: where that says the same, nothing else is written either.
ALONE = frozenset(
    {"charge", "coupon", "dispute", "invoice", "invoiceitem", "payment_intent", "payment_method", "tax_rate"}
)

# What of the catalogue cannot be mirrored, and why, by kind and id.
Broken = dict[tuple[str, str], PermanentError]

# The account that all objects belong to, while `with_catalogue` runs: dj-stripe asks for it with each of them.
_owner: ContextVar[list[models.Account] | None] = ContextVar("_owner", default=None)


class CatalogueMissingError(Exception):
    """What customers share, and an object refers to, is not mirrored yet: fetched objects by kind and id.

    `with_catalogue` takes care of it.
    """

    def __init__(self, missing: dict[tuple[str, str], Any]) -> None:
        super().__init__(", ".join(f"{kind} {object_id}" for kind, object_id in missing))
        self.missing = missing


def store(fetched: Any) -> Any:
    """Sync one object that the gateway fetched, and what it refers to; returns its JSON as it was mirrored.

    Which of `billing.stripe.objects` that is depends on its kind. Raises PermanentError when Stripe does not know what
    the object refers to, CatalogueMissingError before it writes anything, KeyError for a kind that is not in MODELS.
    Of an object that was `listed` only its own row is written, and Stripe is not asked.
    """
    if listed.is_answering():
        return listed_rows.store(fetched)
    if fetched["object"] in ALONE and _known(fetched["object"], fetched["id"]) == (data := gateway.as_json(fetched)):
        return data  # fetched once for each of the events that tell of one change
    require_catalogue([fetched])
    return _sync(fetched)


def _sync(fetched: Any) -> Any:
    if fetched["object"] == "product" and fetched.get("deleted"):
        return _gone_product(fetched["id"])
    model = MODELS[fetched["object"]]
    sync = partial(model.sync_from_stripe_data, fetched, api_key=gateway.api_key())
    subject = f"{fetched['object']} {fetched['id']}"
    try:
        data: Any = dict(gateway.translate(sync, subject).stripe_data)
    except ObjectDoesNotExist as error:
        # dj-stripe asked for what the object refers to, got nothing, and could not insert the row without it.
        refused = getattr(error.__context__, "__cause__", None)
        if not isinstance(refused, NotNullViolation):
            raise
        name = str(refused.diag.column_name).removesuffix("_id")
        raise PermanentError(f"Stripe does not know the {name} of {subject}.") from error
    if data["object"] in ("price", "product"):
        tiers.note(data)
    return data


def _gone_product(product_id: str) -> Any:
    """A product that was deleted, for the prices that refer to it."""
    gone = {"id": product_id, "object": "product", "deleted": True}
    said = {"name": product_id, "livemode": settings.STRIPE_LIVE_MODE, "stripe_data": gone}
    models.Product.objects.get_or_create(id=product_id, defaults=said)
    mark_deleted("product", product_id)
    return gone


def with_catalogue(action: Callable[[], T], *, broken: Broken | None = None) -> T:
    """Run `action`, a transaction about one customer, with what customers share mirrored before it.

    A product or price that the transaction itself mirrored would be locked until it ends, and with it every other
    customer who is the first to buy the same, for as long as Stripe keeps this one waiting. Raises PermanentError for
    what cannot be mirrored; with `broken` it is noted there.
    """
    tried: set[tuple[str, str]] = set()
    while True:
        token = _owner.set([])
        try:
            return action()
        except CatalogueMissingError as error:
            missing = error.missing
        finally:
            _owner.reset(token)
        if tried & missing.keys():
            raise PermanentError(f"What is referred to could not be mirrored: {sorted(tried & missing.keys())}.")
        tried |= missing.keys()
        for (kind, object_id), fetched in missing.items():
            try:
                with explained(f"{kind} {object_id}"):
                    _sync(fetched) if kind != "account" else _owner_account(models.Account, gateway.api_key())
            except PermanentError as error:
                if broken is None:
                    raise
                broken[kind, object_id] = error


def require_catalogue(objects: Iterable[Any], *, broken: Broken | None = None) -> None:
    """Raise CatalogueMissingError for all that the objects refer to, but for what is `broken`."""
    wanted: dict[tuple[str, str], Any] = {}
    prices: dict[tuple[str, str], Any] = {}  # to be mirrored themselves
    for fetched in objects:
        if fetched["object"] == "price":
            prices["price", fetched["id"]] = fetched
        # Of an object of an unknown form nothing is known: mirroring it says so.
        with suppress(AttributeError, LookupError, TypeError):
            wanted |= dict(_catalogue(fetched))
    missing = {name: wanted[name] for name in _unmirrored(wanted) if name not in (broken or {})}
    first: dict[tuple[str, str], Any] = {}
    for price in [each for (kind, _), each in (missing | prices).items() if kind == "price"]:
        product = ("product", _id_of(price["product"]))
        if product not in first and _unmirrored([product]):
            try:
                first[product] = gateway.retrieve(*product)
            except MissingError:  # deleted, which does not end the subscriptions to it
                first[product] = {"id": product[1], "object": "product", "deleted": True}
    if not (_owner.get() or models.Account.objects.exists()):
        first["account", "itself"] = gateway.account()
    if first or missing:
        raise CatalogueMissingError(first | missing)


def _unmirrored(names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    by_kind: dict[str, list[str]] = {}
    for kind, object_id in names:
        by_kind.setdefault(kind, []).append(object_id)
    known = {
        (kind, object_id)
        for kind, ids in by_kind.items()
        for object_id in MODELS[kind].objects.filter(id__in=ids).values_list("id", flat=True)
    }
    return [name for name in names if name not in known]


def _id_of(reference: Any) -> str:
    return reference if isinstance(reference, str) else str(reference["id"])


def _catalogue(fetched: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    kind = fetched["object"]
    if kind == "customer" and (coupon := (fetched.get("discount") or {}).get("coupon")):
        yield ("coupon", coupon["id"]), coupon
    items = fetched["items"]["data"] if kind == "subscription" else []
    for item in items:
        if price := item.get("price"):
            yield ("price", price["id"]), price
    for holder in (fetched, *items) if kind in ("subscription", "invoice") else ():
        for rate in [*(holder.get("default_tax_rates") or []), *(holder.get("tax_rates") or [])]:
            yield ("tax_rate", rate["id"]), rate


def note_catalogue() -> None:
    """Write anew what every mirrored price and product says of its tier: `tiers.note` may not have seen them all."""
    for kind in ("price", "product"):
        for row in MODELS[kind].objects.iterator():
            tiers.note({"id": row.id, "object": kind, **row.stripe_data})


def mark_deleted(kind: str, object_id: str) -> None:
    """Note in the mirror that the object is gone. The row stays: deleting it would cascade to its history."""
    for row in MODELS[kind].objects.filter(id=object_id):
        row.stripe_data = {**row.stripe_data, "deleted": True}
        row.save(update_fields=["stripe_data"])


def _known(kind: str, object_id: str) -> Any:
    row = MODELS[kind].objects.filter(id=object_id).first()
    return row.stripe_data if row else None


def charge(charge_id: str) -> Charge | None:
    """A charge, if it is known here."""
    found: Charge | None = _known("charge", charge_id)
    return found


def charge_disputes(charge_id: str) -> list[Dispute]:
    """The disputes of a charge that are known here."""
    return [row.stripe_data for row in models.Dispute.objects.filter(charge_id=charge_id)]


def customer(customer_id: str) -> Customer | None:
    """A customer as it was last fetched, if it is known here."""
    found: Customer | None = _known("customer", customer_id)
    return found


def customer_discount(customer_id: str) -> Discount | None:
    """The discount that a customer carries itself, if it is known here."""
    known = customer(customer_id)
    return known.get("discount") if known else None


def keep_checkout(session: CheckoutSession) -> None:
    """Keep a checkout session, to be found by its id; what it refers to comes by events of its own.

    dj-stripe would fetch all that, and write to Stripe.
    """
    known = models.Customer.objects.filter(id=_id_of(session.get("customer") or ""))
    values = {"livemode": bool(session.get("livemode")), "customer": known.first(), "stripe_data": session}
    models.Session.objects.update_or_create(id=session["id"], defaults=values)


def invoice_paid_by(customer_id: str, charge_id: str, payment_intent_id: str | None) -> Invoice | None:
    """The oldest invoice of the customer, known here, that a charge or its payment intent paid or tried to pay.

    Needs the invoice's `payments`, which replaced a charge's `invoice` in API version 2025-03-31.
    """
    paid = Q(stripe_data__payments__data__contains=[{"payment": {"charge": charge_id}}])
    if payment_intent_id:
        paid |= Q(stripe_data__payments__data__contains=[{"payment": {"payment_intent": payment_intent_id}}])
    row = models.Invoice.objects.filter(paid, customer_id=customer_id).order_by("created").first()
    return row.stripe_data if row else None


def invoice_of(charge: Charge) -> Invoice | None:
    """The invoice that a charge paid or tried to pay, if it is known here.

    A charge named it before API version 2025-03-31, the invoice's payments name the charge since.
    """
    if named := identifier(charge.get("invoice")):
        return invoice(named)
    customer_id = identifier(charge.get("customer"))
    if customer_id is None:
        return None
    return invoice_paid_by(customer_id, charge["id"], identifier(charge.get("payment_intent")))


def holdings(customer_id: str) -> Iterator[tuple[str, Any]]:
    """Kind and object of each subscription and invoice of a customer that is known here."""
    for kind in ("subscription", "invoice"):
        for row in MODELS[kind].objects.filter(customer_id=customer_id):
            yield kind, row.stripe_data


def customers_with(price_id: str) -> set[str]:
    """The customers who have, or had, a subscription or an invoice with the price, as far as that is known here."""
    line = [{"pricing": {"price_details": {"price": price_id}}}]
    found = models.Invoice.objects.filter(stripe_data__lines__data__contains=line)
    subscribed = models.Subscription.objects.filter(items__price__id=price_id)
    return {*found.values_list("customer_id", flat=True), *subscribed.values_list("customer_id", flat=True)}


def customer_metadata(customer_id: str) -> dict[str, str]:
    """The metadata of a customer, if it is known here."""
    known = customer(customer_id)
    return (known.get("metadata") if known else None) or {}


def price(price_id: str) -> Price | None:
    """A price, if it is known here."""
    found: Price | None = _known("price", price_id)
    return found


def prices(price_ids: Iterable[str]) -> dict[str, Price]:
    """Those of the prices that are known here, by their ids."""
    return {row.id: row.stripe_data for row in models.Price.objects.filter(id__in=set(price_ids))}


def invoice(invoice_id: str) -> Invoice | None:
    """An invoice, if it is known here."""
    found: Invoice | None = _known("invoice", invoice_id)
    return found


def unpaid_invoices(subscription_id: str) -> list[Invoice]:
    """The invoices of a subscription, known here, that are drafts, open or given up, oldest first."""
    of_it = Q(stripe_data__parent__subscription_details__subscription=subscription_id)
    of_it |= Q(stripe_data__subscription=subscription_id)  # before API version 2025-03-31
    rows = models.Invoice.objects.filter(
        of_it, customer__subscriptions__id=subscription_id, stripe_data__status__in=("draft", "open", "uncollectible")
    )
    return [row.stripe_data for row in rows.order_by("created", "id") if not row.stripe_data.get("deleted")]


def failed_try(invoice: Invoice, tried_by: Iterable[str] | None, *, since: datetime | None) -> Charge | None:
    """The last charge of an invoice that is known here, if it failed; None where it did not, or no charge is known.

    `tried_by` are the payment intents and charges that the invoice names; None where it says nothing: then its amount
    tells which of the customer's charges from `since` on, that name no invoice either, is meant.
    """
    if tried_by is None:
        named = Q(stripe_data__amount=invoice.get("amount_remaining"), stripe_data__currency=invoice["currency"])
        named &= Q(stripe_data__payment_intent=None, created__gte=since)
    else:
        ids = list(tried_by)
        named = Q(id__in=ids) | Q(stripe_data__payment_intent__in=ids)
    tries = named | Q(stripe_data__invoice=invoice["id"])
    rows = models.Charge.objects.filter(tries, customer_id=_id_of(invoice["customer"]))
    last = rows.order_by("-created", "-id").first()
    return last.stripe_data if last and last.stripe_data.get("status") == "failed" else None


def metered_prices(subscription_id: str) -> list[str]:
    """The prices of a subscription, known here, that bill what was used: their nicknames, or else their ids."""
    known = _known("subscription", subscription_id) or {}
    prices = [item.get("price") or {} for item in (known.get("items") or {}).get("data", [])]
    metered = [price for price in prices if (price.get("recurring") or {}).get("usage_type") == "metered"]
    return [price.get("nickname") or price["id"] for price in metered]


def discounts_of(subscription_id: str) -> list[tuple[str, str]]:
    """The ids of a subscription's own discounts, known here, each with its coupon's name, or else the coupon's id."""
    known = _known("subscription", subscription_id) or {}
    found = [each for each in known.get("discounts") or [] if isinstance(each, dict) and each.get("id")]
    coupons = [each.get("coupon") or {} for each in found]
    return [
        (each["id"], coupon.get("name") or coupon.get("id") or each["id"])
        for each, coupon in zip(found, coupons, strict=True)
    ]


def recurring_prices(kept: str | None = None) -> list[Price]:
    """The active recurring prices that are known here, newest first, and the price `kept` with them."""
    rows = models.Price.objects.filter(Q(stripe_data__active=True, stripe_data__type="recurring") | Q(id=kept))
    return [row.stripe_data for row in rows.order_by("-created")]


def is_active(price: Price) -> bool:
    """Whether a price is sold still; one that is archived goes on for who has it."""
    return bool(price.get("active"))


def product_names(product_ids: Iterable[str]) -> dict[str, str]:
    """The names of those of the products that are known here, by their ids."""
    return dict(models.Product.objects.filter(id__in=set(product_ids)).values_list("id", "name"))


def _owner_account(cls: type[models.Account], api_key: str) -> models.Account:
    """Stand in for dj-stripe's lookup, which stores the secret key in plain text in djstripe_apikey."""
    known = _owner.get()
    if known:
        return known[0]
    fetched = gateway.account()
    # A stub first: syncing an account looks for its owner, which is this very row.
    account, created = models.Account.objects.get_or_create(id=fetched["id"])
    if created:
        models.Account.sync_from_stripe_data(fetched, api_key=api_key)
        account.refresh_from_db()
    if known is not None:
        known.append(account)
    return account


def adapt_dj_stripe() -> None:
    """Make dj-stripe find the owner account without storing the API key; called when Django is ready.

    And let it not ask Stripe for a product's features, which nobody reads, while the new product is locked.
    """
    models.Account.get_or_retrieve_for_api_key = classmethod(_owner_account)
    models.Product._sync_product_features = lambda product, api_key=None: None  # noqa: SLF001
