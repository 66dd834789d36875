"""Which tier a Stripe price sells: support's word, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.db import transaction

from billing.models import Plan, PlanPrice
from billing.stripe import mirror
from billing.stripe.events import replay
from billing.stripe.events.event_object import identifier
from billing.stripe.events.filter import parked_counts, parked_for
from billing.stripe.objects import Price
from billing.stripe.projection import prices
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused

PRICE_ID = re.compile(r"(price|plan)_\w+|\w[\w-]*", re.ASCII)
AT_MOST = 50
LONGEST_ID = 255
LONGEST_NOTE = 200


@dataclass(frozen=True)
class Mapped:
    """What followed: how many parked events were enqueued and how many customers are synced again."""

    replayed: int
    resynced: int


@dataclass(frozen=True)
class UnmappedPrice:
    """A price that no tier claims.

    `amount_cents` is for `interval_count` intervals; None where Stripe has no whole amount, because the price is tiered
    or has fractions of the smallest unit: https://docs.stripe.com/api/prices/object
    """

    stripe_price_id: str
    product_id: str
    product_name: str
    lookup_key: str
    amount_cents: int | None
    currency: str
    interval: str
    interval_count: int
    events_waiting: int


def map_price(stripe_price_id: str, tier: str, *, actor: str, reason: str, note: str = "") -> Mapped:
    """Let `stripe_price_id` sell `tier`, replay the events that waited for it and sync who has it.

    Customers are synced by tasks of their own, later. Refuses an unknown tier, a malformed price id and a note over 200
    characters. Mapping a price
    again moves it to the new tier; an empty `note` keeps the old one.
    """
    price_id = stripe_price_id.strip()
    if not PRICE_ID.fullmatch(price_id):
        raise Refused(f"{stripe_price_id!r} is not a Stripe price id (price_…).")
    if len(price_id) > LONGEST_ID or len(note) > LONGEST_NOTE:
        raise Refused(f"A price id has at most {LONGEST_ID} characters, a note {LONGEST_NOTE}.")
    if not Plan.objects.filter(pk=tier).exists():
        raise Refused(f"There is no plan {tier!r}.")
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        values = {"plan_id": tier} | ({"note": note} if note else {})
        PlanPrice.objects.update_or_create(stripe_price_id=price_id, defaults=values)
        record(
            "map_price",
            table_name="plan_prices",
            row_id=price_id,
            reason=reason,
            new_values={"tier": tier},
        )
        replayed = replay.replay_all(parked_for(price_id), actor=actor, reason=reason)
        resynced = prices.move_subscribers(price_id, tier)
    return Mapped(replayed, resynced)


def unmapped_prices(limit: int = AT_MOST) -> list[UnmappedPrice]:
    """The newest active recurring prices that Stripe told us about and no tier claims, the most waited for first.

    In four queries, however many there are.
    """
    mapped = set(PlanPrice.objects.values_list("pk", flat=True))
    found = [
        price for price in mirror.recurring_prices() if price["id"] not in mapped and not prices.named_tier(price)
    ][:limit]
    names = mirror.product_names(identifier(price.get("product")) or "" for price in found)
    waiting = parked_counts([price["id"] for price in found])
    unmapped = [_unmapped(price, names, waiting[price["id"]]) for price in found]
    return sorted(unmapped, key=lambda price: -price.events_waiting)


def _unmapped(price: Price, names: dict[str, str], events_waiting: int) -> UnmappedPrice:
    recurring = price.get("recurring") or {}
    product_id = identifier(price.get("product")) or ""
    return UnmappedPrice(
        stripe_price_id=price["id"],
        product_id=product_id,
        product_name=names.get(product_id, ""),
        lookup_key=price.get("lookup_key") or "",
        amount_cents=price.get("unit_amount"),
        currency=price["currency"],
        interval=recurring.get("interval", ""),
        interval_count=int(recurring.get("interval_count") or 1),
        events_waiting=events_waiting,
    )
