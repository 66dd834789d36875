"""An account of any size, whose objects are made when they are asked for: for load tests, in no memory.

Each customer has a subscription, of which one in five has ended, and two paid invoices with their charges; one charge
in 200 is disputed. One joined a minute, the last of them three months ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from demo.stripe.refusals import RefusalError, missing
from demo.stripe.synthetic import Models
from demo.stripe.world import OBJECT_OF_COLLECTION, StripeWorld
from glyphforge.rows import Json

MINUTE = 60
MONTH = 30 * 86_400
# So many objects of each kind has a customer; the others are those of the recorded catalogue.
PER_CUSTOMER = {"customer": 1, "subscription": 1, "invoice": 2, "charge": 2, "dispute": 1}
PREFIX = {"customer": "cus", "subscription": "sub", "invoice": "in", "charge": "ch", "dispute": "du"}
EVERY_DISPUTED = 100


class LargeWorld(StripeWorld):
    """`customers` of them at Stripe, beside the recorded catalogue; nothing of them is kept."""

    def __init__(self, customers: int) -> None:
        super().__init__()
        self.customers = customers
        self.now = int(time.time())
        models = Models()
        self.models = models
        for item in models.catalogue:
            self.put(item)
        self.prices = list(models.prices.values())
        self.make: dict[str, Callable[[int, int], Json]] = {
            "customer": self._customer,
            "subscription": self._subscription,
            "invoice": self._invoice,
            "charge": self._charge,
            "dispute": self._dispute,
        }

    def retrieve(self, collection: str, object_id: str, expand: Any = ()) -> Json:
        """As of a small account; what the id says is made."""
        kind = OBJECT_OF_COLLECTION.get(collection, "")
        if kind not in self.make:
            return super().retrieve(collection, object_id, expand)
        found = self._named(kind, object_id)
        if found is None:
            raise missing(kind, object_id)
        return self.make[kind](*found)

    def page(self, collection: str, params: Json) -> Json:
        """As of a small account: newest first; the filters are `customer`, `charge` and `starting_after`."""
        kind = OBJECT_OF_COLLECTION.get(collection, "")
        if kind not in self.make:
            return super().page(collection, params)
        found = list(self._keys(kind, params))
        limit = int(params.get("limit", 10))
        items = [self.make[kind](*key) for key in found[:limit]]
        for item in items:
            for path in params.get("expand", []):
                self._expand_made(item, path.split(".")[1:])
        return {"object": "list", "url": f"/v1/{collection}", "has_more": len(found) > limit, "data": items}

    def _keys(self, kind: str, params: Json) -> Iterator[tuple[int, int]]:
        """One object more than a page has, as pairs of customer and number."""
        numbers, first = range(PER_CUSTOMER[kind]), (self.customers, 0)
        if owner := params.get("customer") or params.get("charge"):
            named = self._named("customer" if "customer" in params else "charge", owner)
            if named is None:
                return
            yield from ((named[0], number) for number in numbers if self._exists(kind, named[0]))
            return
        if after := params.get("starting_after"):
            named = self._named(kind, after)
            if named is None:
                raise RefusalError(404, f"No such {kind}: '{after}'", code="resource_missing")
            first = (named[0], named[1] + 1)
        left = int(params.get("limit", 10)) + 1
        customer, number = first
        while customer and left:
            if number < len(numbers) and self._exists(kind, customer):
                yield customer, number
                left, number = left - 1, number + 1
            else:
                customer, number = customer - 1, 0

    def _exists(self, kind: str, customer: int) -> bool:
        return kind != "dispute" or customer % EVERY_DISPUTED == 0

    def _named(self, kind: str, object_id: str) -> tuple[int, int] | None:
        prefix, _, rest = object_id.partition("_large")
        customer, _, number = rest.partition("n")
        if prefix != PREFIX[kind] or not customer.isdigit() or not number.isdigit():
            return None
        found = int(customer), int(number)
        return found if 0 < found[0] <= self.customers and found[1] < PER_CUSTOMER[kind] else None

    def _expand_made(self, item: Json, path: list[str]) -> None:
        name, *rest = path
        value = item.get(name)
        if isinstance(value, str) and name in self.make and (named := self._named(name, value)):
            item[name] = value = self.make[name](*named)
        if rest and isinstance(value, dict):
            self._expand_made(value, rest)

    # ------------------------------------------------------------- the objects

    def _joined(self, customer: int) -> int:
        return self.now - 3 * MONTH - (self.customers - customer) * MINUTE

    def _customer(self, customer: int, number: int) -> Json:
        return self.models.customer | {
            "id": _id("customer", customer, number),
            "created": self._joined(customer),
            "email": f"large{customer}@example.com",
            "metadata": {},
            "name": f"Large {customer}",
        }

    def _subscription(self, customer: int, number: int) -> Json:
        subscription_id, joined = _id("subscription", customer, number), self._joined(customer)
        ended_at = joined + MONTH if customer % 5 == 0 else None
        item = self.models.item | {
            "id": f"si_large{customer}n{number}",
            "created": joined,
            "current_period_start": joined + 2 * MONTH,
            "current_period_end": joined + 4 * MONTH,
            "price": self.prices[customer % len(self.prices)],
            "quantity": 1,
            "subscription": subscription_id,
        }
        return self.models.subscription | {
            "id": subscription_id,
            "canceled_at": ended_at,
            "created": joined,
            "currency": item["price"]["currency"],
            "customer": _id("customer", customer),
            "ended_at": ended_at,
            "items": self.models.subscription["items"] | {"data": [item]},
            "start_date": joined,
            "status": "canceled" if ended_at else "active",
        }

    def _invoice(self, customer: int, number: int) -> Json:
        invoice_id = _id("invoice", customer, number)
        payment = {"type": "charge", "charge": _id("charge", customer, number)}
        lines = self.models.invoice["lines"] | {"data": [], "url": f"/v1/invoices/{invoice_id}/lines"}
        return self.models.invoice | {
            "id": invoice_id,
            "created": self._joined(customer) + (1 - number) * MINUTE // 2,
            "customer": _id("customer", customer),
            "lines": lines,
            "parent": {
                "type": "subscription_details",
                "subscription_details": {"subscription": _id("subscription", customer)},
            },
            "payments": {
                "object": "list",
                "has_more": False,
                "data": [{"object": "invoice_payment", "payment": payment}],
            },
        }

    def _charge(self, customer: int, number: int) -> Json:
        price = self.prices[customer % len(self.prices)]
        return self.models.charge | {
            "id": _id("charge", customer, number),
            "amount": price["unit_amount"],
            "amount_captured": price["unit_amount"],
            "created": self._joined(customer) + (1 - number) * MINUTE // 2,
            "currency": price["currency"],
            "customer": _id("customer", customer),
            "disputed": customer % EVERY_DISPUTED == 0 and number == 0,
            "payment_intent": None,
        }

    def _dispute(self, customer: int, number: int) -> Json:
        return self.models.dispute | {
            "id": _id("dispute", customer, number),
            "charge": _id("charge", customer),
            "created": self._joined(customer) + 2 * MONTH,
            "payment_intent": None,
        }


def _id(kind: str, customer: int, number: int = 0) -> str:
    return f"{PREFIX[kind]}_large{customer}n{number}"
