"""Which tier a Stripe price sells: support's word first, then what price and product say themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from billing.models import CatalogueEntry, PlanPrice, Sold, Tier
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import CatalogueObject, Price

# `<tier>_<interval>` and nothing else: what a longer key adds, as in enterprise_support_monthly, is something else.
LOOKUP_KEY = re.compile(
    rf"({'|'.join(Tier.values)})_"
    "(day|daily|week|weekly|month|monthly|quarter|quarterly|year|yearly|annual|annually)"
)


def tier_of(price: Price) -> str | None:
    """The tier of a price, `Sold.FOREIGN` for one that is none of ours, None where nobody says.

    The first that says something of: the declaration of the price, of its product, what the price names itself, what
    its product does.
    """
    return tiers_of([price])[price["id"]]


def tiers_of(prices: Sequence[Price]) -> dict[str, str | None]:
    """The tiers of several prices, by their ids, in two queries."""
    products = {price["id"]: identifier(price.get("product")) or "" for price in prices}
    ids = {*products, *products.values()}
    declared = dict(PlanPrice.objects.filter(pk__in=ids).values_list("pk", "tier"))
    named = dict(CatalogueEntry.objects.filter(pk__in=set(products.values())).values_list("pk", "named_tier"))
    return {
        price["id"]: declared.get(price["id"])
        or declared.get(products[price["id"]])
        or named_tier(price)
        or named.get(products[price["id"]])
        for price in prices
    }


def named_tier(item: CatalogueObject) -> str | None:
    """What a price names by its metadata `tier` or its lookup key; of a product only that it is foreign counts."""
    named = str((item.get("metadata") or {}).get("tier") or "").strip().lower()
    if item.get("object") == "product":
        return named if named == Sold.FOREIGN else None
    if named in Sold.values:
        return named
    key = LOOKUP_KEY.fullmatch(str(item.get("lookup_key") or ""))
    return key[1] if key else None


def note(item: CatalogueObject) -> None:
    """Write what a price or product says of itself where SQL finds it; nothing where that is there already."""
    said = {"stripe_product_id": identifier(item.get("product")), "named_tier": named_tier(item)}
    if not CatalogueEntry.objects.filter(pk=item["id"], **said).exists():
        CatalogueEntry.objects.update_or_create(pk=item["id"], defaults=said)


def is_named_foreign(stripe_id: str) -> bool:
    """Whether a price or product said that it is foreign when it was mirrored last."""
    return CatalogueEntry.objects.filter(pk=stripe_id, named_tier=Sold.FOREIGN).exists()


def is_anything_foreign() -> bool:
    """Whether anything at all is declared foreign; where nothing is, nobody need look whether this or that is."""
    declared = PlanPrice.objects.filter(tier=Sold.FOREIGN).values("pk")
    return declared.union(CatalogueEntry.objects.filter(named_tier=Sold.FOREIGN).values("pk"), all=True).exists()
