"""Stripe's lists in the order in which each finds what it refers to, and their pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from billing.models import BackfillList
from billing.stripe import gateway
from billing.stripe.errors import MissingError
from billing.stripe.events.event_object import identifier
from glyphforge.rows import Json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One list: the kind of its objects, what to ask it for, and what to expand beside what the gateway does."""

    kind: str
    filters: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()


# With its customer an object says whether that was deleted since: no list has those.
LISTS = (
    Source("product"),
    Source("price", also=("product",)),
    Source("coupon"),
    Source("customer"),
    Source("subscription", {"status": "all"}, ("customer",)),
    Source("invoice", also=("customer",)),
    Source("charge", also=("customer",)),
    Source("dispute", also=("charge", "charge.customer")),
)
# What belongs to all customers.
CATALOGUE = frozenset({"product", "price", "coupon"})


@dataclass(frozen=True)
class Listed:
    """An object as JSON, its references as ids, and what was listed with it: by kind and id."""

    item: Json
    beside: dict[tuple[str, str], Json]

    @property
    def customer_id(self) -> str | None:
        """Whose it is; of a dispute, whose the charge is."""
        if self.item["object"] == "customer":
            return str(self.item["id"])
        holders = [self.item, *(found for (kind, _), found in self.beside.items() if kind == "charge")]
        return next((found for holder in holders if (found := identifier(holder.get("customer")))), None)


def page(source: Source, state: BackfillList) -> tuple[list[Listed], bool]:
    """The page behind `state`'s position, newest first, and whether there is more behind it.

    When Stripe forgot the object at the position, deleted since, the list goes on at the second of its making.
    """
    asked: dict[str, Any] = {**source.filters, "also": source.also}
    if not state.position:
        items, more = gateway.page(source.kind, **asked)
    else:
        try:
            items, more = gateway.page(source.kind, **asked, starting_after=state.position)
        except MissingError:
            if state.created_at is None:
                raise
            logger.info("%s %s is gone; its list goes on by time", source.kind, state.position)
            until = int(state.created_at.timestamp())
            items, more = gateway.page(source.kind, **asked, created={"lte": until})
    return [_listed(gateway.as_json(item), source.also) for item in items], more


def _listed(item: Json, expanded: tuple[str, ...]) -> Listed:
    beside = {}
    for path in sorted(expanded, key=len, reverse=True):  # what is inside comes out first
        *holders, name = path.split(".")
        holder: Any = item
        for each in holders:
            holder = holder.get(each) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(found := holder.get(name), dict) and found.get("id"):
            beside[name, found["id"]] = found
            holder[name] = found["id"]
    return Listed(item, beside)


def by_customer(page: list[Listed]) -> Iterator[tuple[str, list[Listed]]]:
    """The page's objects by customer, in the page's order; what belongs to none is left out."""
    found: dict[str, list[Listed]] = {}
    for each in page:
        if customer_id := each.customer_id:
            found.setdefault(customer_id, []).append(each)
    yield from found.items()


def oldest(page: list[Listed]) -> datetime | None:
    """When the page's last object was made, if it says so."""
    created = page[-1].item.get("created") if page else None
    try:
        return datetime.fromtimestamp(created, tz=UTC) if isinstance(created, int) else None
    except (OverflowError, ValueError, OSError):
        return None
