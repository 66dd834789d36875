"""Which tier a Stripe price sells, and what a subscription costs a month."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from billing.models import PlanPrice, Tier

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
    count as nothing, because nobody knows the usage to come. ``once`` coupons do not recur. An
    amount off is taken once a billing period.
    """
    items = subscription["items"]["data"]
    total = sum((_item_monthly(item) for item in items), Decimal(0))
    if items:
        discounts = subscription.get("discounts") or [customer_discount]
        total = _discounted(total, discounts, items[0]["price"])
    return int(max(total, Decimal(0)).quantize(Decimal(1), ROUND_HALF_UP))


def _item_monthly(item: Json) -> Decimal:
    price = item["price"]
    recurring = price.get("recurring") or {}
    if recurring.get("usage_type") == "metered":
        return Decimal(0)
    unit = Decimal(str(price.get("unit_amount_decimal") or price.get("unit_amount") or 0))
    quantity = item.get("quantity")
    per_period = unit * (1 if quantity is None else quantity)
    return _discounted(per_period * _periods_a_month(price), item.get("discounts"), price)


def _periods_a_month(price: Json) -> Decimal:
    recurring = price.get("recurring") or {}
    return PER_MONTH[recurring.get("interval", "month")] / int(recurring.get("interval_count") or 1)


def _discounted(monthly: Decimal, discounts: Iterable[Any] | None, price: Json) -> Decimal:
    for discount in discounts or []:
        coupon = discount.get("coupon") if isinstance(discount, dict) else None
        if not coupon or coupon.get("duration") == "once":
            continue
        if coupon.get("percent_off"):
            monthly *= 1 - Decimal(str(coupon["percent_off"])) / 100
        elif coupon.get("amount_off"):
            monthly -= Decimal(coupon["amount_off"]) * _periods_a_month(price)
    return max(monthly, Decimal(0))
