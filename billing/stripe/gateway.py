"""The one door to Stripe: with `signature`, the only module that imports `stripe`.

Every call is short (see `TIMEOUT_SECONDS`), speaks the pinned API version, and fails with one of
the classes of `billing.stripe.errors`. Ids and amounts are Stripe's: amounts are in the
currency's smallest unit.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Any

import stripe
from django.conf import settings

from billing.stripe import listed, pace
from billing.stripe.completion import Lookups, complete
from billing.stripe.errors import MissingError, PermanentError, TransientError, UnansweredError
from glyphforge.database import installation, rehearsal
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
    "subscription_schedule": stripe.SubscriptionSchedule,
}

# NUL, a surrogate or a large exponent as JSON writes them.
MAYBE_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|[eE]\+?\d{3}")

# What is asked for beyond an object's own members. Discounts arrive as ids unless expanded.
EXPAND: dict[str, list[str]] = {
    "charge": ["balance_transaction", "failure_balance_transaction", "refunds.data.failure_balance_transaction"],
    "customer": ["discount.source.coupon"],
    "invoice": ["discounts", "lines.data.discounts", "payments"],
    "invoiceitem": ["discounts"],
    "refund": ["failure_balance_transaction"],
    "subscription": ["discounts.source.coupon", "items.data.discounts"],
}
OPTIONS_SECONDS = 60
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
        pace.wait()
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
    What is in `listed` is not asked for.
    """
    if known := listed.find(kind, object_id):
        return known
    if not object_id.strip(". "):  # of an address, another place
        raise MissingError(f"{kind} {object_id!r}: that is no id of Stripe's")
    with _translated(f"{kind} {object_id}"):
        found = RESOURCES[kind].retrieve(object_id, api_key=api_key(), expand=EXPAND.get(kind, []))
        return completed(kind, found)


def page(kind: str, *, limit: int | None = None, also: Iterable[str] = (), **filters: Any) -> tuple[list[Any], bool]:
    """Fetch one page of a list, newest first: at most `limit` or 100 objects, and whether there is more behind it.

    `also` are members to expand beyond EXPAND, `filters` parameters of the list, `starting_after` among them:
    https://docs.stripe.com/api/pagination
    """
    paths = [f"data.{path}" for path in (*EXPAND.get(kind, []), *also)]
    expand = [path for path in paths if path.count(".") < EXPAND_DEPTH]
    with _translated(f"list of {kind}"):
        answer = RESOURCES[kind].list(api_key=api_key(), limit=limit or PAGE_SIZE, expand=expand, **filters)
        return [completed(kind, item) for item in answer["data"]], bool(answer["has_more"])


def completed(kind: str, item: Any) -> Any:
    """An object with what Stripe says of it to who asks; one of an unknown form stays as it is."""
    try:
        return complete(kind, item, Lookups(_coupon, _tiers, _options, _nothing))
    except (AttributeError, LookupError, TypeError):
        logger.warning("%s %s has an unknown form", kind, item.get("id"), exc_info=True)
        return item


def _nothing() -> Any:
    empty = {"object": "list", "data": [], "has_more": False, "url": ""}
    return stripe.ListObject.construct_from(empty, api_key())


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


def _options(price_id: str, currency: str) -> Any:
    return _options_of_minute(price_id, currency, int(time.monotonic() // OPTIONS_SECONDS))


@lru_cache(maxsize=1024)
def _tiers(price_id: str) -> Any:
    """A price's tiers never change, so one look is enough. None of a price that is gone."""
    return _of_price(price_id, "tiers", [])


@lru_cache(maxsize=1024)  # for a minute: a list may have it a hundred times
def _options_of_minute(price_id: str, currency: str, _minute: int) -> Any:
    """What the price costs in other currencies; unlike its own amount that may be changed, so it is looked up anew."""
    return _of_price(price_id, "currency_options", [f"currency_options.{currency}.tiers"])


def _of_price(price_id: str, member: str, expand: list[str]) -> Any:
    """A member of a price that has to be asked for; None where the price is gone: its subscriptions go on."""
    try:
        return stripe.Price.retrieve(price_id, api_key=api_key(), expand=[member, *expand])[member]
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            return None
        raise


def iterate(kind: str, **filters: Any) -> Iterator[Any]:
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
        return [as_json(dispute) for dispute in iterate("dispute", charge=charge_id)]
    except MissingError:
        return []


def refunds(charge_id: str) -> list[Any]:
    """All refunds of a charge, whatever became of them; none where Stripe does not know it.

    For the statuses see https://docs.stripe.com/api/refunds/object
    """
    try:
        return [as_json(refund) for refund in iterate("refund", charge=charge_id)]
    except MissingError:
        return []


def as_json(item: Any) -> Any:
    """A fetched object as plain JSON: one of `billing.stripe.objects`; what is that already stays."""
    return item if type(item) is dict else json.loads(str(item))


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


def look_at(kind: str, object_id: str) -> Any:
    """Fetch one object as it is, nothing expanded or completed: to learn what became of a request.

    Raises MissingError when Stripe does not know it.
    """
    with _translated(f"{kind} {object_id}"):
        return RESOURCES[kind].retrieve(object_id, api_key=api_key())


def preview(**terms: Any) -> Any:
    """The invoice that a change would make, or the next one, which nobody is charged: its lines are complete.

    `terms` are as at https://docs.stripe.com/api/invoices/create_preview
    """
    with _translated(f"a preview of subscription {terms['subscription']}"):
        found = RESOURCES["invoice"].create_preview(api_key=api_key(), **terms)
        return as_json(completed("invoice", found))


def balance_transactions(customer_id: str) -> list[Any]:
    """The newest hundred changes of what a customer has to their credit.

    https://docs.stripe.com/api/customer_balance_transactions/object
    """
    with _translated(f"customer {customer_id}"):
        found = RESOURCES["customer"].list_balance_transactions(customer_id, api_key=api_key(), limit=PAGE_SIZE)
        return [as_json(each) for each in found["data"]]


# The three below change something. UnansweredError says that the answer is lost, every other error that nothing was
# changed. Two calls with one `idempotency_key` change it once: https://docs.stripe.com/api/idempotent_requests


def _once(idempotency_key: str) -> dict[str, Any]:
    """The options of one request, which the library does not repeat: who asks again has to look before."""
    return {"api_key": api_key(), "idempotency_key": idempotency_key, "max_network_retries": 0}


def modify(kind: str, object_id: str, *, idempotency_key: str, **terms: Any) -> None:
    """Change one object; `terms` are the members to change, as Stripe names them."""
    call(kind, "modify", object_id, idempotency_key=idempotency_key, **terms)


def call(kind: str, method: str, object_id: str, *, idempotency_key: str, **terms: Any) -> Any:
    """Do to one object what stripe-python names `method`, as `cancel` of a subscription; returns Stripe's answer."""
    with _changing(f"{kind} {object_id}"):
        return getattr(RESOURCES[kind], method)(object_id, **terms, **_once(idempotency_key))


def create(kind: str, subject: str, *, idempotency_key: str, **terms: Any) -> Any:
    """Make an object, of or for `subject`, which messages name; returns it."""
    with _changing(subject):
        return RESOURCES[kind].create(**terms, **_once(idempotency_key))


@contextmanager
def _changing(subject: str) -> Iterator[None]:
    """As `_translated`, for what changes something at Stripe: a copy of production must not, nor does a rehearsal."""
    if rehearsal.is_rehearsing():
        raise PermanentError(f"Stripe is not asked to change {subject} in a rehearsal.")
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
        raise UnansweredError(f"Stripe did not answer for {subject}: {text}", _retry_after(error)) from error
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
            raise UnansweredError(f"Stripe could not answer for {subject}: {message}") from error
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
    _options_of_minute.cache_clear()
