"""Which tier a Stripe price sells, and what a subscription costs a month."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billing.models import PlanPrice, Tier
from billing.stripe.errors import PermanentError
from billing.stripe.subject import identifier

Json = dict[str, Any]

#: How many of an interval make a month; a year is 365 days where days and weeks are meant.
PER_MONTH = {
    "day": Decimal(365) / 12,
    "week": Decimal(365) / 84,
    "month": Decimal(1),
    "year": Decimal(1) / 12,
}
RANK = {tier: position for position, tier in enumerate(Tier.values)}


def tier_of(price: Json) -> str | None:
    """The tier of a price: support's mapping first, then the metadata ``tier``, then the lookup key."""
    mapped = PlanPrice.objects.filter(pk=price["id"]).values_list("plan_id", flat=True).first()
    return str(mapped) if mapped else named_tier(price)


def named_tier(price: Json) -> str | None:
    """The tier that a price itself names, by its metadata ``tier`` or by its lookup key."""
    named = str((price.get("metadata") or {}).get("tier") or "").strip().lower()
    if named in RANK:
        return named
    # starter_monthly, professional-yearly: the first word names the tier.
    word = re.split(r"[^a-z]", str(price.get("lookup_key") or "").lower(), maxsplit=1)[0]
    return word if word in RANK else None


def monthly_cents(subscription: Json, customer_discount: Json | None = None) -> int:
    """The recurring price a month in the currency's smallest unit, after recurring discounts, before taxes.

    The customer's own discount holds where the subscription has none, as at Stripe. Metered prices
    count as nothing, because nobody knows the usage to come. ``once`` coupons do not recur, and what
    ended before this period takes nothing off. An amount off is taken once a billing period. Raises
    PermanentError for a price that says no amount.
    """
    items, currency = subscription["items"]["data"], subscription["currency"]
    parts = [_item_part(item, currency) for item in items]
    if items:
        discounts = subscription.get("discounts") or [customer_discount]
        parts = _discounted(parts, discounts, items[0], currency)
    shares = [_untaxed_share(item, subscription) for item in items]
    total = sum((part.cents * share for part, share in zip(parts, shares, strict=True)), Decimal(0))
    return int(total.quantize(Decimal(1), ROUND_HALF_UP))


def _untaxed_share(item: Json, subscription: Json) -> Decimal:
    """What of an item's price is not tax: rates may be part of it. Taxes that Stripe works out by itself it says
    only of an invoice."""
    rates = item.get("tax_rates") or subscription.get("default_tax_rates") or []
    within = [Decimal(str(rate["percentage"])) for rate in rates if isinstance(rate, dict) and rate.get("inclusive")]
    return 1 / (1 + sum(within, Decimal(0)) / 100)


@dataclass(frozen=True)
class Part:
    """What one item costs a month, and whose product it is."""

    product_id: str | None
    cents: Decimal


def _item_part(item: Json, currency: str) -> Part:
    price = item["price"]
    product_id = identifier(price.get("product"))
    if (price.get("recurring") or {}).get("usage_type") == "metered":
        return Part(product_id, Decimal(0))
    quantity = 1 if item.get("quantity") is None else int(item["quantity"])
    part = Part(product_id, _per_period(price, quantity, currency) * _periods_a_month(price))
    return _discounted([part], item.get("discounts"), item, currency)[0]


def _per_period(price: Json, quantity: int, currency: str) -> Decimal:
    """What the quantity costs a billing period, in the subscription's currency: a price may know several."""
    amounts = price
    if price["currency"] != currency:
        amounts = (price.get("currency_options") or {}).get(currency) or {}
    if price.get("billing_scheme") == "tiered":
        tiers = amounts.get("tiers") or []
        if not tiers:
            raise _without_amount(price, currency)
        return _volume(tiers, quantity) if price.get("tiers_mode") == "volume" else _graduated(tiers, quantity)
    if amounts.get("unit_amount") is None and amounts.get("unit_amount_decimal") is None:
        raise _without_amount(price, currency)
    return _amount(amounts, "unit_amount") * _packages(price, quantity)


def _without_amount(price: Json, currency: str) -> PermanentError:
    return PermanentError(
        f"Stripe says no recurring amount in {currency} for price {price['id']}. "
        "Look the price up at Stripe, then replay this event."
    )


def _packages(price: Json, quantity: int) -> int:
    """How many units are billed: prices of packages divide the quantity and round."""
    packages = price.get("transform_quantity")
    if not packages:
        return quantity
    divide_by = int(packages["divide_by"])
    return -(-quantity // divide_by) if packages["round"] == "up" else quantity // divide_by


def _volume(tiers: list[Json], quantity: int) -> Decimal:
    """The tier that the quantity falls into prices all of it."""
    tier = next(tier for tier in tiers if tier.get("up_to") is None or quantity <= tier["up_to"])
    return _amount(tier, "flat_amount") + _amount(tier, "unit_amount") * quantity


def _graduated(tiers: list[Json], quantity: int) -> Decimal:
    """Each tier prices what falls into it, and costs its flat amount once it is reached; the first always is."""
    total, below = Decimal(0), 0
    for tier in tiers:
        upto = quantity if tier.get("up_to") is None else min(quantity, tier["up_to"])
        total += _amount(tier, "flat_amount") + _amount(tier, "unit_amount") * (upto - below)
        if upto == quantity:
            break
        below = upto
    return total


def _amount(holder: Json, name: str) -> Decimal:
    """An amount that Stripe gives as a whole number or, in fractions of the smallest unit, as a decimal text."""
    exact = holder.get(f"{name}_decimal")
    return Decimal(str(holder.get(name) or 0 if exact is None else exact))


def _periods_a_month(price: Json) -> Decimal:
    recurring = price.get("recurring") or {}
    return PER_MONTH[recurring.get("interval", "month")] / int(recurring.get("interval_count") or 1)


def _discounted(parts: list[Part], discounts: Iterable[Any] | None, item: Json, currency: str) -> list[Part]:
    """The parts after each discount, which may be for some products only; an amount off is shared among them."""
    for discount in discounts or []:
        coupon = discount.get("coupon") if isinstance(discount, dict) else None
        if not coupon or coupon.get("duration") == "once" or _is_over(discount, item):
            continue
        products = (coupon.get("applies_to") or {}).get("products")
        reached = [part for part in parts if not products or part.product_id in products]
        whole = sum((part.cents for part in reached), Decimal(0))
        off = Decimal(0)
        if coupon.get("percent_off"):
            off = whole * Decimal(str(coupon["percent_off"])) / 100
        elif coupon.get("amount_off"):
            off = min(_amount_off(coupon, currency) * _periods_a_month(item["price"]), whole)
        if off:
            parts = [replace(p, cents=p.cents - off * p.cents / whole) if p in reached else p for p in parts]
    return parts


def _is_over(discount: Json, item: Json) -> bool:
    """Whether the discount ended before the item's current period began."""
    ends, begins = discount.get("end"), item.get("current_period_start")
    return bool(ends and begins and ends <= begins)


def _amount_off(coupon: Json, currency: str) -> int:
    """What the coupon takes off in that currency; nothing in one that it does not know."""
    if coupon.get("currency") in (None, currency):
        return int(coupon["amount_off"])
    option = (coupon.get("currency_options") or {}).get(currency) or {}
    return int(option.get("amount_off") or 0)
