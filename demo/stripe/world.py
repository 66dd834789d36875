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
from demo.stripe.refusals import RefusalError, missing
from demo.stripe.writes import Writes
from glyphforge.rows import Json

COLLECTIONS = {
    "account": "accounts",
    "balance_transaction": "balance_transactions",
    "charge": "charges",
    "checkout.session": "checkout.sessions",
    "coupon": "coupons",
    "credit_note": "credit_notes",
    "customer": "customers",
    "customer_balance_transaction": "customer_balance_transactions",
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
    "subscription_schedule": "subscription_schedules",
    "webhook_endpoint": "webhook_endpoints",
}
OBJECT_OF_COLLECTION = {collection: kind for kind, collection in COLLECTIONS.items()}

# What Stripe leaves out of an object unless it is expanded, wherever the object appears.
ON_REQUEST = {
    "charge": ("refunds",),
    "coupon": ("applies_to", "currency_options"),
    "price": ("tiers", "currency_options"),
}
# As many of its refunds are given with a charge that is asked for them.
REFUNDS_IN_CHARGE = 10
# Stripe refuses to expand deeper than this many levels.
EXPAND_DEPTH = 4

# Query parameters of list calls that compare with a key of the object.
LIST_FILTERS = ("charge", "customer", "invoice", "payment_intent", "price", "subscription", "type")


class StripeWorld(Writes):
    """Objects, events and idempotency keys of one account; what Stripe would refuse raises RefusalError.

    Reads and `write` are thread-safe; the changes are meant to be run by `write`, and by themselves they are not.
    `on_event` is called, outside the lock, with each event that a write produces.
    """

    def __init__(self, recordings: Iterable[Recording] = ()) -> None:
        self._lock = threading.RLock()
        self._sequence = itertools.count(1)
        self._answers: dict[str, tuple[Json, Json]] = {}
        self.objects: dict[str, Json] = {}
        self.declining: set[str] = set()
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
        if path[:1] == ["refunds"] and isinstance(item, dict) and item.get("object") == "charge":
            item["refunds"] = self._refunds_of(item["id"])
        if not path or not isinstance(item, dict) or item.get(path[0]) is None:
            return
        value = item[path[0]]
        if isinstance(value, str) and value in self.objects:
            item[path[0]] = value = copy.deepcopy(self.objects[value])
        self._expand(value, path[1:])

    def _refunds_of(self, charge_id: str) -> Json:
        """The newest refunds of a charge, as a list that may be cut."""
        refunds = self.page("refunds", {"charge": charge_id, "limit": REFUNDS_IN_CHARGE})
        return refunds | {"url": f"/v1/charges/{charge_id}/refunds"}

    # ----------------------------------------------------------------- writes

    def write(self, key: str | None, asked: Json, change: Callable[[], Json]) -> Json:
        """Run `change` once per idempotency `key`: a repeated call gets the first answer again.

        `asked` is all that was asked for: the same key with anything else is refused. A refusal is not remembered; what
        happened before it, as when a card is declined, is told by events. Keys at Stripe:
        https://docs.stripe.com/api/idempotent_requests
        """
        refusal: RefusalError | None = None
        answer: Json = {}
        with self._lock:
            if key and key in self._answers:
                first, known = self._answers[key]
                if first != asked:
                    raise RefusalError(
                        400, f"Keys for idempotent requests can only be used with the same parameters: {key}", param=""
                    )
                return copy.deepcopy(known)
            before = len(self.events)
            try:
                answer = copy.deepcopy(change())
            except RefusalError as error:
                refusal = error
            if key and refusal is None:
                self._answers[key] = (asked, copy.deepcopy(answer))
            pending = self.events[before:]
        if self.on_event:
            for event in pending:
                self.on_event(copy.deepcopy(event))
        if refusal:
            raise refusal
        return answer

    def emit(self, event_type: str, item: Json, previous: Json | None = None) -> Json:
        """Append the event that Stripe would send for a change of `item` and return it."""
        data: Json = {"object": copy.deepcopy(item)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": self.api_version,
            "created": int(time.time()),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": self.new_id("req"), "idempotency_key": None},
            "type": event_type,
        }
        with self._lock:
            self.events.append(event)
        return event

    def new_id(self, prefix: str) -> str:
        """An id that no object has."""
        return f"{prefix}_local{next(self._sequence):06d}{secrets.token_hex(4)}"


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
