"""The one door to Stripe: with `signature`, the only module that imports `stripe`.

Every call is short (see `TIMEOUT_SECONDS`), speaks the pinned API version, and fails with one of
the classes of `billing.stripe.errors`. Ids and amounts are Stripe's: amounts are in the
currency's smallest unit.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Any

import stripe
from django.conf import settings

from billing.stripe.errors import MissingError, PermanentError, TransientError
from glyphforge.database import installation
from glyphforge.text import storable_json

logger = logging.getLogger(__name__)

# Connecting and reading, each; a worker holds a customer's lock for as long as it waits.
TIMEOUT_SECONDS = 10
# stripe-python repeats a request by itself only once: the inbox does the patient retrying.
NETWORK_RETRIES = 1
PAGE_SIZE = 100
# A longer pause than a day is no answer to an event that waits.
LONGEST_RETRY_AFTER = 86_400.0

# Kind of object, as in its member `object`, to the resource that serves it.
RESOURCES: dict[str, Any] = {
    "account": stripe.Account,
    "charge": stripe.Charge,
    "checkout.session": stripe.checkout.Session,
    "coupon": stripe.Coupon,
    "customer": stripe.Customer,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "invoice": stripe.Invoice,
    "invoiceitem": stripe.InvoiceItem,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "price": stripe.Price,
    "product": stripe.Product,
    "refund": stripe.Refund,
    "subscription": stripe.Subscription,
}

# NUL, a surrogate or a large exponent as JSON writes them.
MAYBE_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|[eE]\+?\d{3}")

# What is asked for beyond an object's own members. Discounts arrive as ids unless expanded.
EXPAND: dict[str, list[str]] = {
    "charge": ["balance_transaction"],
    "customer": ["discount.source.coupon"],
    "invoice": ["discounts", "lines.data.discounts", "payments"],
    "invoiceitem": ["discounts"],
    "subscription": ["discounts.source.coupon", "items.data.discounts"],
}
# Stripe refuses to expand deeper than this many levels.
EXPAND_DEPTH = 4


class CountingClient(stripe.RequestsClient):
    """The library's client, counting what is asked: reconciliation works within a budget."""

    made = 0

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Send one request as the library would, after counting it; a repeated request counts again.

        What strangers wrote may hold characters and numbers that PostgreSQL cannot: they are replaced in the answer.
        """
        CountingClient.made += 1
        content, *rest = super().request(*args, **kwargs)
        if MAYBE_UNSTORABLE.search(content):
            with suppress(ValueError):  # no JSON: the library says so
                content = json.dumps(storable_json(json.loads(content))).encode()
        return content, *rest


def requests_made() -> int:
    """How many requests this process has sent to Stripe, the ones that the library repeated included."""
    return CountingClient.made


def configure() -> None:
    """Apply the project's settings to the library; called once when Django is ready.

    The API version is pinned: https://docs.stripe.com/api/versioning
    """
    logging.getLogger("stripe").setLevel(logging.WARNING)  # it announces every request
    stripe.enable_telemetry = False  # it would write an id file under the home directory
    stripe.max_network_retries = NETWORK_RETRIES
    stripe.api_version = settings.STRIPE_API_VERSION
    stripe.api_base = getattr(settings, "STRIPE_API_HOST", "") or "https://api.stripe.com"
    stripe.default_http_client = CountingClient(timeout=TIMEOUT_SECONDS)


def api_key() -> str:
    """The secret key of the configured mode.

    A missing one is a TransientError that names the variable: events wait until it is set.
    """
    key = settings.STRIPE_LIVE_SECRET_KEY if settings.STRIPE_LIVE_MODE else settings.STRIPE_TEST_SECRET_KEY
    if not key:
        name = "STRIPE_LIVE_SECRET_KEY" if settings.STRIPE_LIVE_MODE else "STRIPE_TEST_SECRET_KEY"
        raise TransientError(f"{name} is not set: Stripe cannot be asked.")
    return str(key)


def retrieve(kind: str, object_id: str) -> Any:
    """Fetch the current state of one object, nested lists and coupons complete.

    `kind` is a key of RESOURCES; what is expanded is in EXPAND. Raises MissingError when Stripe does not know the id; a
    deleted customer is known, and has `deleted`. Raises TransientError and PermanentError like every function here.
    """
    with _translated(f"{kind} {object_id}"):
        found = RESOURCES[kind].retrieve(object_id, api_key=api_key(), expand=EXPAND.get(kind, []))
        return _as_complete_as_can_be(kind, found)


def page(kind: str, *, limit: int | None = None, **filters: Any) -> tuple[list[Any], bool]:
    """Fetch one page of a list, newest first: at most `limit` or 100 objects, and whether there is more behind it.

    `filters` are parameters of the list, `starting_after` among them: https://docs.stripe.com/api/pagination
    """
    paths = [f"data.{path}" for path in EXPAND.get(kind, [])]
    expand = [path for path in paths if path.count(".") < EXPAND_DEPTH]
    with _translated(f"list of {kind}"):
        answer = RESOURCES[kind].list(api_key=api_key(), limit=limit or PAGE_SIZE, expand=expand, **filters)
        return [_as_complete_as_can_be(kind, item) for item in answer["data"]], bool(answer["has_more"])


def _as_complete_as_can_be(kind: str, item: Any) -> Any:
    """An object of an unknown form stays as it is, and does not keep the others of its page away."""
    try:
        return _completed(kind, item)
    except (AttributeError, LookupError, TypeError):
        logger.warning("%s %s has an unknown form", kind, item.get("id"), exc_info=True)
        return item


def _completed(kind: str, item: Any) -> Any:
    """Page through a cut list of subscription items; put coupons in place of their ids, and amounts into prices."""
    if kind == "subscription":
        lines = item["items"]
        if lines["has_more"]:
            lines["data"] = list(lines.auto_paging_iter())
            lines["has_more"] = False
        for holder in (item, *lines["data"]):
            for discount in holder.get("discounts") or []:
                _put_coupon(discount)
        for line in lines["data"]:
            _put_amounts(line["price"], item["currency"])
    if kind == "customer" and item.get("discount"):
        _put_coupon(item["discount"])
    return item


def _put_coupon(discount: Any) -> None:
    """Newer versions name the coupon at `source.coupon`, older ones (and dj-stripe) at `coupon`.

    Which products it is for, and what it takes off in other currencies, is said only to who asks for the coupon itself.
    """
    if isinstance(discount, str):
        return
    coupon = discount.get("coupon") or (discount.get("source") or {}).get("coupon")
    if coupon:
        known = coupon if isinstance(coupon, str) else coupon["id"]
        created = None if isinstance(coupon, str) else coupon.get("created")
        found = _coupon(known, created)
        # Under the id of a deleted coupon another one may have been made, with other terms.
        same = found and created in (None, found.get("created"))
        coupon = found if same else None if isinstance(coupon, str) else coupon
    discount["coupon"] = coupon


@lru_cache(maxsize=1024)
def _coupon(coupon_id: str, created: int | None) -> Any:
    """A coupon's terms never change, so one look is enough. None when it was deleted since.

    `created` only tells apart what bore the same id.
    """
    try:
        return stripe.Coupon.retrieve(coupon_id, api_key=api_key(), expand=["applies_to", "currency_options"])
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            return None
        raise


def _put_amounts(price: Any, currency: str) -> None:
    """Tiers, and amounts in other currencies than the price's own, are said only to who asks for the price itself."""
    if price["currency"] != currency:
        price["currency_options"] = _options(price["id"], currency)
    elif price.get("billing_scheme") == "tiered" and not price.get("tiers"):
        price["tiers"] = _tiers(price["id"])


@lru_cache(maxsize=1024)
def _tiers(price_id: str) -> Any:
    """A price's tiers never change, so one look is enough."""
    return stripe.Price.retrieve(price_id, api_key=api_key(), expand=["tiers"])["tiers"]


def _options(price_id: str, currency: str) -> Any:
    """What the price costs in other currencies; unlike its own amount that may be changed, so it is looked up anew."""
    expand = ["currency_options", f"currency_options.{currency}.tiers"]
    return stripe.Price.retrieve(price_id, api_key=api_key(), expand=expand)["currency_options"]


def _iterate(kind: str, **filters: Any) -> Iterator[Any]:
    """Yield all members of a list, newest first, fetched a page at a time. `filters` are as for `page`."""
    after: dict[str, Any] = {}
    more = True
    while more:
        items, more = page(kind, **filters, **after)
        yield from items
        if items:
            after = {"starting_after": items[-1]["id"]}


def disputes(charge_id: str) -> list[Any]:
    """All disputes of a charge, which itself does not say how they ended; none where Stripe does not know it.

    For the statuses see https://docs.stripe.com/api/disputes/object
    """
    try:
        return list(_iterate("dispute", charge=charge_id))
    except MissingError:
        return []


def refunds_that_failed(charge_id: str) -> int:
    """How many refunds of a charge failed or were canceled, so that their money can be refunded again.

    For the statuses see https://docs.stripe.com/api/refunds/object
    """
    return sum(refund["status"] in ("failed", "canceled") for refund in _iterate("refund", charge=charge_id))


def as_json(item: Any) -> Any:
    """A fetched object as plain JSON: one of `billing.stripe.objects`."""
    return json.loads(str(item))


def account_id() -> str:
    """The id of the account that the key belongs to; asked once a process."""
    return _account(api_key(), str(stripe.api_base))["id"]


def account() -> Any:
    """The account that the key belongs to; asked once a process."""
    return _account(api_key(), str(stripe.api_base))


@cache
def _account(key: str, _base: str) -> Any:
    with _translated("the account"):
        return stripe.Account.retrieve(api_key=key)


def mode_and_time() -> tuple[bool, datetime | None]:
    """Whether the key is of live mode, and what time it is at Stripe: the balance is the smallest of answers."""
    with _translated("the balance"):
        balance: Any = stripe.Balance.retrieve(api_key=api_key())
        told_at = balance.last_response.headers.get("Date")
    return bool(balance["livemode"]), parsedate_to_datetime(told_at) if told_at else None


def webhook_endpoints() -> list[Any]:
    """Where the account's events are sent: https://docs.stripe.com/api/webhook_endpoints/object"""
    with _translated("the webhook endpoints"):
        answer: Any = stripe.WebhookEndpoint.list(api_key=api_key(), limit=PAGE_SIZE)
    return list(answer["data"])


def cancel_subscription(subscription_id: str, *, at_period_end: bool, idempotency_key: str) -> None:
    """End a subscription now, or let it end with its period: https://docs.stripe.com/api/subscriptions/cancel

    Repeating it with the same `idempotency_key` changes nothing more.
    """
    with _changing(f"subscription {subscription_id}"):
        if at_period_end:
            stripe.Subscription.modify(
                subscription_id,
                cancel_at_period_end=True,
                api_key=api_key(),
                idempotency_key=idempotency_key,
            )
        else:
            stripe.Subscription.cancel(subscription_id, api_key=api_key(), idempotency_key=idempotency_key)


def resume_subscription(subscription_id: str, *, idempotency_key: str) -> None:
    """Take back a cancellation at the end of the period, whether it is a flag or, as the portal's, a moment.

    The flag is `cancel_at_period_end`, the moment `cancel_at`: https://docs.stripe.com/api/subscriptions/object
    """
    with _changing(f"subscription {subscription_id}"):
        found = stripe.Subscription.retrieve(subscription_id, api_key=api_key())
        terms: dict[str, Any] = {"cancel_at_period_end": False} if found["cancel_at_period_end"] else {"cancel_at": ""}
        stripe.Subscription.modify(subscription_id, **terms, api_key=api_key(), idempotency_key=idempotency_key)


def refund(charge_id: str, *, amount: int | None, idempotency_key: str) -> str:
    """Refund a charge, in part when `amount` is given, in the currency's smallest unit; returns the refund's id.

    Two calls with one `idempotency_key` make one refund: https://docs.stripe.com/api/idempotent_requests
    """
    with _changing(f"charge {charge_id}"):
        terms: dict[str, Any] = {"charge": charge_id, "reason": "requested_by_customer"}
        if amount is not None:
            terms["amount"] = amount
        made = stripe.Refund.create(**terms, api_key=api_key(), idempotency_key=idempotency_key)
        return str(made["id"])


def tag_customer(customer_id: str, user_id: str, *, email: str | None = None) -> None:
    """Write our user's id into the customer's metadata as `user_id`, so that both sides know the link.

    An empty one takes what is there away: https://docs.stripe.com/api/metadata
    With `email`, replace the customer's address too.
    """
    names = {"user_id": user_id} | ({} if user_id else {"cognito_user_id": ""})
    terms: dict[str, Any] = {"metadata": names} | ({"email": email} if email else {})
    with _changing(f"customer {customer_id}"):
        stripe.Customer.modify(customer_id, **terms, api_key=api_key())


@contextmanager
def _changing(subject: str) -> Iterator[None]:
    """As `_translated`, for what changes something at Stripe, which a copy of production must not."""
    if not installation.is_production():
        raise PermanentError(f"Stripe was not asked to change {subject}. {installation.COPY}")
    with _translated(subject):
        yield


@contextmanager
def _translated(subject: str) -> Iterator[None]:
    """Turn the library's exceptions into the two classes that processing knows."""
    try:
        yield
    except stripe.RateLimitError as error:
        raise TransientError(f"Stripe is rate limiting ({subject}).", _retry_after(error)) from error
    except (stripe.APIConnectionError, stripe.APIError) as error:
        # Of a failed connection the library tells its own classes and a support address.
        unreached = isinstance(error, stripe.APIConnectionError)
        text = "it was not reached, or not in time" if unreached else error.user_message or type(error).__name__
        raise TransientError(f"Stripe did not answer for {subject}: {text}", _retry_after(error)) from error
    except stripe.AuthenticationError as error:
        # A key that is being rotated is set right without anybody touching the event.
        raise TransientError(f"Stripe refused the API key ({subject}).") from error
    except ArithmeticError as error:  # from the library, which reads decimals by itself
        raise PermanentError(f"Stripe's answer about {subject} has a number that cannot be read.") from error
    except stripe.StripeError as error:
        message = error.user_message or str(error)
        if error.http_status == 404 or error.code == "resource_missing":
            raise MissingError(f"Stripe does not know {subject}: {message}") from error
        if error.http_status in (409, 429) or (error.http_status or 0) >= 500:
            raise TransientError(f"Stripe could not answer for {subject}: {message}") from error
        raise PermanentError(f"Stripe refused {subject}: {message}") from error


def _retry_after(error: stripe.StripeError) -> float | None:
    headers = {str(name).lower(): value for name, value in (error.headers or {}).items()}
    seconds = str(headers.get("retry-after", ""))
    return min(float(seconds), LONGEST_RETRY_AFTER) if seconds.isdecimal() else None


def translate(action: Callable[[], Any], subject: str) -> Any:
    """Run `action`, which calls Stripe by itself (dj-stripe's recursive sync), with our error classes.

    `subject` names in messages what was asked for. Returns what `action` returns.
    """
    with _translated(subject):
        return action()


def clear_cache() -> None:
    """Drop what was remembered about the account, its coupons and prices: another account may answer now."""
    _account.cache_clear()
    _coupon.cache_clear()
    _tiers.cache_clear()
