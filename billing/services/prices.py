"""Which tier a Stripe price sells: support's word, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import Count

from billing.models import PlanPrice, Sold, Subscription, UnmatchedCustomer
from billing.services.stripe_calls import errors_as_refused
from billing.stripe import gateway, mirror, tiers
from billing.stripe.errors import MissingError, PermanentError
from billing.stripe.events import replay
from billing.stripe.events.event_object import identifier
from billing.stripe.events.filter import parked_counts, parked_for
from billing.stripe.objects import Price
from billing.stripe.projection import prices
from glyphforge.audit import acting_as, record
from glyphforge.errors import Refused

PRICE_ID = re.compile(r"(price|plan)_\w+|\w[\w-]*", re.ASCII)
AT_MOST = 50
SUBSCRIBED_AT_MOST = 1_000
LONGEST_ID = 255
LONGEST_NOTE = 200


@dataclass(frozen=True)
class Mapped:
    """What followed: how many parked events were enqueued and how many customers are synced again."""

    replayed: int
    resynced: int


@dataclass(frozen=True)
class ListedPrice:
    """A price as the page of prices shows it, with who has it and what waits for it.

    `sells` is the tier that somebody claims it for, None without one; `kept` are the tiers that its subscribers have.
    `amount_cents` is for `interval_count` intervals; None where Stripe has no whole amount, because the price is tiered
    or has fractions of the smallest unit: https://docs.stripe.com/api/prices/object. `currency` is empty for a price
    of which nothing is mirrored.
    """

    stripe_price_id: str
    product_id: str
    product_name: str
    lookup_key: str
    amount_cents: int | None
    currency: str
    interval: str
    interval_count: int
    is_active: bool
    sells: str | None
    kept: tuple[str, ...]
    subscribers: int
    events_waiting: int


def map_price(stripe_price_id: str, tier: str, *, actor: str, reason: str, note: str = "") -> Mapped:
    """Let a price, or each price of a product, sell `tier`, replay the events that waited and sync who has it.

    `Sold.FOREIGN` declares it to be none of ours. Customers are synced by tasks of their own, later. Refuses an unknown
    tier, a malformed id, a note over 200 characters, what Stripe does not know, unless somebody is subscribed to it,
    and to decide while Stripe does not answer. Mapping again moves to the new tier; an empty `note` keeps the old one.
    """
    price_id = stripe_price_id.strip()
    if not PRICE_ID.fullmatch(price_id):
        raise Refused(f"{stripe_price_id!r} is not the id of a Stripe price (price_…) or product (prod_…).")
    if len(price_id) > LONGEST_ID or len(note) > LONGEST_NOTE:
        raise Refused(f"A price id has at most {LONGEST_ID} characters, a note {LONGEST_NOTE}.")
    if tier not in Sold.values:
        raise Refused(f"There is no plan {tier!r}; there are {', '.join(Sold.values)}.")
    _look_up(price_id)
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        values = {"tier": tier} | ({"note": note} if note else {})
        PlanPrice.objects.update_or_create(stripe_price_id=price_id, defaults=values)
        record("map_price", table_name="plan_prices", row_id=price_id, reason=reason, new_values={"tier": tier})
        followed = _follow(price_id, actor=actor, reason=reason)
        if tier != Sold.FOREIGN:
            return followed
        # Who waits for a person may have nothing but that.
        unmatched = UnmatchedCustomer.objects.values_list("pk", flat=True)
        again = sum(replay.replay_all(parked_for(each), actor=actor, reason=reason) for each in unmatched)
        return replace(followed, replayed=followed.replayed + again)


def unmap_price(stripe_price_id: str, *, actor: str, reason: str) -> Mapped:
    """Take back what was said of a price or product: what it says itself counts again. Refuses one that is not mapped.

    Who has it keeps the plan where nothing else claims the price.
    """
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        row = PlanPrice.objects.select_for_update().get(pk=stripe_price_id)
        record("unmap_price", table_name="plan_prices", row_id=row.pk, reason=reason, old_values={"tier": row.tier})
        row.delete()
        return _follow(stripe_price_id, actor=actor, reason=reason)


def _look_up(stripe_id: str) -> None:
    """Fetch a price or product into the mirror, so that its page names it."""
    kind = "product" if stripe_id.startswith("prod_") else "price"
    with errors_as_refused():
        try:
            fetched = gateway.retrieve(kind, stripe_id)
        except MissingError:
            if Subscription.objects.filter(stripe_price_id=stripe_id).exists():
                return
            raise PermanentError(f"Stripe knows no {kind} {stripe_id}: copy its id from Stripe's dashboard.") from None

        def store() -> None:
            with transaction.atomic():
                mirror.store(fetched)

        mirror.with_catalogue(store)


def _follow(stripe_id: str, *, actor: str, reason: str) -> Mapped:
    replayed = resynced = 0
    for price_id, tier in prices.sold_by(stripe_id).items():
        replayed += replay.replay_all(parked_for(price_id), actor=actor, reason=reason)
        resynced += prices.follow(price_id, tier)
    return Mapped(replayed, resynced)


@dataclass(frozen=True)
class Listed:
    """What the page of prices shows.

    `unclaimed` are the newest active recurring prices that Stripe told us about and no tier claims, the most waited for
    first; `subscribed` each price that live subscriptions have, mirrored or not, the one with the most of them first;
    1,000 at most.
    """

    unclaimed: list[ListedPrice]
    subscribed: list[ListedPrice]


def listed(limit: int = AT_MOST) -> Listed:
    """Read both lists, of unclaimed prices `limit` at most, in ten queries, however many there are."""
    live = Subscription.objects.filter(status__in=Subscription.LIVE, stripe_price_id__isnull=False)
    counted = live.values_list("stripe_price_id").annotate(n=Count("pk")).order_by("-n", "stripe_price_id")
    ids = [str(price_id) for price_id, _ in counted[:SUBSCRIBED_AT_MOST]]
    known = mirror.prices(ids)
    had: list[Price] = [known.get(price_id, {"id": price_id, "currency": ""}) for price_id in ids]
    recurring = mirror.recurring_prices()
    sold = tiers.tiers_of([*had, *recurring])
    unclaimed = [price for price in recurring if not sold[price["id"]]][:limit]
    shown = {price.stripe_price_id: price for price in _listed([*had, *unclaimed], sold)}
    return Listed(
        sorted((shown[price["id"]] for price in unclaimed), key=lambda price: -price.events_waiting),
        [shown[price_id] for price_id in ids],
    )


def _listed(found: list[Price], sold: Mapping[str, str | None]) -> list[ListedPrice]:
    ids = [price["id"] for price in found]
    names = mirror.product_names(identifier(price.get("product")) or "" for price in found)
    waiting = parked_counts(ids)
    kept: dict[str, dict[str, int]] = {}
    live = Subscription.objects.filter(status__in=Subscription.LIVE, stripe_price_id__in=ids)
    for price_id, tier, subscribers in live.values_list("stripe_price_id", "tier").annotate(n=Count("pk")):
        kept.setdefault(str(price_id), {})[tier] = subscribers
    return [
        _as_listed(price, names, sold[price["id"]], kept.get(price["id"], {}), waiting[price["id"]]) for price in found
    ]


def _as_listed(
    price: Price, names: dict[str, str], sells: str | None, kept: dict[str, int], events_waiting: int
) -> ListedPrice:
    recurring = price.get("recurring") or {}
    product_id = identifier(price.get("product")) or ""
    return ListedPrice(
        stripe_price_id=price["id"],
        product_id=product_id,
        product_name=names.get(product_id, ""),
        lookup_key=price.get("lookup_key") or "",
        amount_cents=price.get("unit_amount"),
        currency=price["currency"],
        interval=recurring.get("interval", ""),
        interval_count=int(recurring.get("interval_count") or 1),
        is_active=mirror.is_active(price),
        sells=sells,
        kept=tuple(sorted(kept)),
        subscribers=sum(kept.values()),
        events_waiting=events_waiting,
    )
