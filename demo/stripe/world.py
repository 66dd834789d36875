"""A Stripe account held in memory: objects by path, the event list, and the few writes support makes.

It answers what the recordings know and nothing else; an unknown id is `resource_missing`, as at
Stripe. Times are Unix seconds and money is in the currency's smallest unit, as in Stripe's API.
"""

from __future__ import annotations

import copy
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from demo.stripe.recordings import Recording
from glyphforge.rows import Json

COLLECTIONS = {
    "account": "accounts",
    "balance_transaction": "balance_transactions",
    "charge": "charges",
    "checkout.session": "checkout.sessions",
    "coupon": "coupons",
    "credit_note": "credit_notes",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "invoiceitem": "invoiceitems",
    "payment_intent": "payment_intents",
    "payment_method": "payment_methods",
    "price": "prices",
    "product": "products",
    "refund": "refunds",
    "subscription": "subscriptions",
    "subscription_item": "subscription_items",
    "webhook_endpoint": "webhook_endpoints",
}
OBJECT_OF_COLLECTION = {collection: kind for kind, collection in COLLECTIONS.items()}

# What Stripe leaves out of an object unless it is expanded, wherever the object appears.
ON_REQUEST = {"price": ("tiers", "currency_options"), "coupon": ("applies_to", "currency_options")}
# Stripe refuses to expand deeper than this many levels.
EXPAND_DEPTH = 4

# Query parameters of list calls that compare with a key of the object.
LIST_FILTERS = ("charge", "customer", "invoice", "payment_intent", "price", "subscription", "type")


class RefusalError(Exception):
    """An error answer: HTTP status plus the members of Stripe's `error` object, https://docs.stripe.com/api/errors"""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str = "id"):
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "type": "invalid_request_error",
                "message": message,
                "code": code,
                "param": param,
            }
        }


class StripeWorld:
    """Objects, events and idempotency keys of one account; what Stripe would refuse raises RefusalError.

    Reads and `write` are thread-safe; the changes are meant to be run by `write`, and by themselves they are not.
    `on_event` is called, outside the lock, with each event that a write produces.
    """

    def __init__(self, recordings: Iterable[Recording] = ()) -> None:
        self._lock = threading.RLock()
        self._sequence = itertools.count(1)
        self._answers: dict[tuple[str, str], Json] = {}
        self.objects: dict[str, Json] = {}
        self.events: list[Json] = []
        self.on_event: Callable[[Json], None] | None = None
        self.api_version = "2026-08-26.dahlia"
        for recording in recordings:
            self.add(recording)

    def add(self, recording: Recording) -> None:
        """Add the final objects and all events of `recording`; shared catalogue entries stay once."""
        with self._lock:
            self.api_version = recording.api_version
            for object_id, item in recording.objects.items():
                self.objects.setdefault(object_id, copy.deepcopy(item))
            known = {event["id"] for event in self.events}
            self.events.extend(copy.deepcopy(event) for event in recording.events if event["id"] not in known)
            self.events.sort(key=lambda event: int(event["created"]))

    def put(self, item: Json) -> None:
        """Store `item` as the current state of its id."""
        with self._lock:
            self.objects[item["id"]] = copy.deepcopy(item)

    def forget(self, object_id: str) -> None:
        """Make Stripe answer `resource_missing` for `object_id` from now on."""
        with self._lock:
            self.objects.pop(object_id, None)

    # ------------------------------------------------------------------ reads

    def account(self) -> Json:
        """The account that owns everything here."""
        with self._lock:
            for item in self.objects.values():
                if item.get("object") == "account":
                    return copy.deepcopy(item)
        raise RefusalError(404, "No such account", code="resource_missing")

    def retrieve(self, collection: str, object_id: str, expand: Iterable[str] = ()) -> Json:
        """The object at `/v1/<collection>/<object_id>`; `expand` paths filled in: https://docs.stripe.com/expand"""
        with self._lock:
            if collection == "events":
                found = next((event for event in self.events if event["id"] == object_id), None)
            else:
                found = self.objects.get(object_id)
                if found and found.get("object") != OBJECT_OF_COLLECTION.get(collection):
                    found = None
            if found is None:
                raise missing(OBJECT_OF_COLLECTION.get(collection, collection), object_id)
            answer = copy.deepcopy(found)
            expand = _checked(expand)
            for path in expand:
                self._expand(answer, path.split("."))
            return _without_unasked(answer, expand)

    def page(self, collection: str, params: Json) -> Json:
        """One page of `/v1/<collection>`, newest first, filtered and paged: https://docs.stripe.com/api/pagination"""
        with self._lock:
            if collection == "events":
                items = list(reversed(self.events))
            else:
                kind = OBJECT_OF_COLLECTION.get(collection)
                if kind is None:
                    raise RefusalError(404, f"Unrecognized request URL (GET: /v1/{collection}).")
                items = [
                    item for item in self.objects.values() if item.get("object") == kind and not item.get("deleted")
                ]
                items.sort(key=lambda item: (int(item.get("created") or 0), item["id"]))
                items.reverse()
            items = [item for item in items if _matches(collection, item, params)]
            page, has_more = _page(items, params)
            page = copy.deepcopy(page)
            expand = _checked(params.get("expand", []))
            for path in expand:
                head, _, rest = path.partition(".")
                if head == "data" and rest:
                    for item in page:
                        self._expand(item, rest.split("."))
            return {
                "object": "list",
                "url": f"/v1/{collection}",
                "has_more": has_more,
                "data": _without_unasked(page, expand),
            }

    def _expand(self, item: Any, path: list[str]) -> None:
        """Replace the ids at `path` inside `item` by the objects they name; ignore what is absent."""
        if isinstance(item, list):
            for position, member in enumerate(item):
                if not path and isinstance(member, str) and member in self.objects:
                    item[position] = copy.deepcopy(self.objects[member])
                else:
                    self._expand(item[position], path)
            return
        if not path or not isinstance(item, dict) or item.get(path[0]) is None:
            return
        value = item[path[0]]
        if isinstance(value, str) and value in self.objects:
            item[path[0]] = value = copy.deepcopy(self.objects[value])
        self._expand(value, path[1:])

    # ----------------------------------------------------------------- writes

    def write(self, key: str | None, method: str, path: str, change: Callable[[], Json]) -> Json:
        """Run `change` once per idempotency `key`: a repeated call gets the first answer again.

        A refusal is not remembered. Keys at Stripe: https://docs.stripe.com/api/idempotent_requests
        """
        pending: list[Json] = []
        with self._lock:
            if key and (known := self._answers.get((key, f"{method} {path}"))):
                return copy.deepcopy(known)
            before = len(self.events)
            answer = copy.deepcopy(change())
            if key:
                self._answers[(key, f"{method} {path}")] = copy.deepcopy(answer)
            pending = self.events[before:]
        if self.on_event:
            for event in pending:
                self.on_event(copy.deepcopy(event))
        return answer

    def update_customer(self, customer_id: str, params: Json) -> Json:
        """Change e-mail, name or metadata (merged; an empty value removes the key)."""
        customer = self._live("customer", customer_id)
        before = {key: copy.deepcopy(customer.get(key)) for key in params}
        for key in ("email", "name", "description"):
            if key in params:
                customer[key] = params[key] or None
        merged = customer["metadata"] | (params.get("metadata") or {})
        customer["metadata"] = {key: value for key, value in merged.items() if value != ""}
        self.emit("customer.updated", customer, previous=before)
        return customer

    def delete_customer(self, customer_id: str) -> Json:
        """Delete a customer: its live subscriptions end first, then only a tombstone is answered."""
        customer = self._live("customer", customer_id)
        for item in list(self.objects.values()):
            of_customer = item.get("object") == "subscription" and item["customer"] == customer_id
            if of_customer and item["status"] not in ("canceled", "incomplete_expired"):
                self.cancel_subscription(item["id"])
        gone = {"id": customer_id, "object": "customer", "deleted": True}
        self.objects[customer_id] = gone
        self.emit("customer.deleted", customer)
        return gone

    def update_subscription(self, subscription_id: str, params: Json) -> Json:
        """Set or clear the cancellation at the end of the period, or clear the moment of one; not of a canceled one."""
        subscription = self._live("subscription", subscription_id)
        if subscription["status"] == "canceled":
            raise RefusalError(
                400,
                f"No such subscription: '{subscription_id}' is canceled and cannot be updated.",
                code="resource_missing",
            )
        if "cancel_at_period_end" in params:
            wanted = params["cancel_at_period_end"] in (True, "true", "True")
            before = {"cancel_at_period_end": subscription["cancel_at_period_end"]}
            ends = max(item["current_period_end"] for item in subscription["items"]["data"])
            subscription["cancel_at_period_end"] = wanted
            subscription["cancel_at"] = ends if wanted else None
            subscription["canceled_at"] = int(time.time()) if wanted else None
            self.emit("customer.subscription.updated", subscription, previous=before)
        elif params.get("cancel_at") == "":
            before = {"cancel_at": subscription["cancel_at"], "canceled_at": subscription["canceled_at"]}
            subscription.update(cancel_at=None, canceled_at=None)
            self.emit("customer.subscription.updated", subscription, previous=before)
        return subscription

    def cancel_subscription(self, subscription_id: str) -> Json:
        """End a subscription now; one that has ended is missing: https://docs.stripe.com/api/subscriptions/cancel"""
        subscription = self._live("subscription", subscription_id)
        if subscription["status"] == "canceled":
            raise missing("subscription", subscription_id)
        now = int(time.time())
        subscription.update(status="canceled", canceled_at=now, ended_at=now)
        self.emit("customer.subscription.deleted", subscription)
        return subscription

    def refund(self, params: Json) -> Json:
        """Refund a charge, or `amount` of it, up to what is left: https://docs.stripe.com/api/refunds/create"""
        charge = self._live("charge", str(params.get("charge", "")))
        left = charge["amount"] - charge["amount_refunded"]
        if left <= 0:
            raise RefusalError(
                400,
                f"Charge {charge['id']} has already been refunded.",
                code="charge_already_refunded",
                param="charge",
            )
        amount = int(params.get("amount") or left)
        if not 0 < amount <= left:
            raise RefusalError(
                400,
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).",
                code="amount_too_large",
                param="amount",
            )
        refund = {
            "id": self._new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": int(time.time()),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "metadata": params.get("metadata") or {},
            "payment_intent": charge["payment_intent"],
            "reason": params.get("reason"),
            "receipt_number": None,
            "status": "succeeded",
        }
        self.objects[refund["id"]] = refund
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self.emit("refund.created", refund)
        self.emit("charge.refunded", charge)
        return refund

    def emit(self, event_type: str, item: Json, previous: Json | None = None) -> Json:
        """Append the event that Stripe would send for a change of `item` and return it."""
        data: Json = {"object": copy.deepcopy(item)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self._new_id("evt"),
            "object": "event",
            "api_version": self.api_version,
            "created": int(time.time()),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": self._new_id("req"), "idempotency_key": None},
            "type": event_type,
        }
        with self._lock:
            self.events.append(event)
        return event

    def _live(self, kind: str, object_id: str) -> Json:
        found = self.objects.get(object_id)
        if found is None or found.get("object") != kind or found.get("deleted"):
            raise missing(kind, object_id)
        return found

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_local{next(self._sequence):06d}{secrets.token_hex(4)}"


def missing(kind: str, object_id: str) -> RefusalError:
    """The answer for an id that this account does not have."""
    name = kind.replace("_", " ")
    return RefusalError(404, f"No such {name}: '{object_id}'", code="resource_missing")


def _checked(expand: Iterable[str]) -> list[str]:
    """The paths to expand; one that is too deep is refused, as by Stripe."""
    paths = list(expand)
    for path in paths:
        if path.count(".") >= EXPAND_DEPTH:
            raise RefusalError(400, f"You cannot expand more than {EXPAND_DEPTH} levels: {path}", param="expand")
    return paths


def _without_unasked(answer: Any, expand: list[str]) -> Any:
    """`answer` without the members that are given only to who names them in `expand`."""
    asked = {name for path in expand for name in path.split(".")}

    def strip(value: Any) -> None:
        if isinstance(value, list):
            for member in value:
                strip(member)
        elif isinstance(value, dict):
            for name in ON_REQUEST.get(str(value.get("object")), ()):
                if name not in asked:
                    value.pop(name, None)
            for member in value.values():
                strip(member)

    strip(answer)
    return answer


def _matches(collection: str, item: Json, params: Json) -> bool:
    for name in LIST_FILTERS:
        if name in params and item.get(name) != params[name]:
            return False
    if "types" in params and item.get("type") not in params["types"]:
        return False
    if collection == "subscriptions":
        status = params.get("status")
        if status is None and item["status"] in ("canceled", "incomplete_expired"):
            return False
        if status not in (None, "all") and item["status"] != status:
            return False
    created = params.get("created")
    if isinstance(created, dict):
        moment = int(item.get("created") or 0)
        checks = {
            "gt": moment.__gt__,
            "gte": moment.__ge__,
            "lt": moment.__lt__,
            "lte": moment.__le__,
        }
        return all(checks[name](int(bound)) for name, bound in created.items())
    return True


def _page(items: list[Json], params: Json) -> tuple[list[Json], bool]:
    limit = min(max(int(params.get("limit", 10)), 1), 100)
    order = {item["id"]: position for position, item in enumerate(items)}
    if "starting_after" in params:
        if params["starting_after"] not in order:
            raise missing("object", params["starting_after"])
        items = items[order[params["starting_after"]] + 1 :]
    elif "ending_before" in params:
        if params["ending_before"] not in order:
            raise missing("object", params["ending_before"])
        items = items[: order[params["ending_before"]]]
        return items[-limit:], len(items) > limit
    return items[:limit], len(items) > limit
