"""What a subscription costs a month, and who has a price whose tier changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from django.db.models import QuerySet
from django_q.tasks import async_task

from billing.models import CatalogueEntry, Sold, Subscription, Tier
from billing.stripe import mirror, objects, tiers
from billing.stripe.errors import PermanentError
from billing.stripe.events import inbox
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Amounts, Coupon, Discount, Price, PriceTier, SubscriptionItem

# How many of an interval make a month; a year is 365 days where days and weeks are meant.
PER_MONTH = {
    "day": Decimal(365) / 12,
    "week": Decimal(365) / 84,
    "month": Decimal(1),
    "year": Decimal(1) / 12,
}
RANK = {tier: position for position, tier in enumerate(Tier.values)}


def sold_by(stripe_id: str) -> dict[str, str | None]:
    """What a price, or each known price of a product, sells now, by the ids of the prices."""
    of_product = CatalogueEntry.objects.filter(stripe_product_id=stripe_id).values_list("pk", flat=True)
    itself: Price = {"id": stripe_id, "currency": ""}
    return tiers.tiers_of(list(({stripe_id: itself} | mirror.prices([stripe_id, *of_product])).values()))


def follow(stripe_id: str, tier: str | None) -> int:
    """Set going what waits for a price that sells `tier` now, and bring in line who has it on another.

    Returns how many customers those are. Each by a task of its own, later, under the customer's lock. In a transaction
    the tasks appear when it commits.
    """
    inbox.retry_waiting(stripe_id)
    having = Subscription.objects.filter(stripe_price_id=stripe_id)
    customers = mirror.customers_with(stripe_id)
    if tier == Sold.FOREIGN:
        customers |= _customers(having)
    else:
        # Of a price that was foreign there are no rows.
        customers -= _customers(having)
        if tier:
            customers |= _customers(having.filter(status__in=Subscription.LIVE).exclude(tier=tier))
    for customer_id in sorted(customers):
        async_task("billing.tasks.resync_customer", customer_id)
    return len(customers)


def _customers(rows: QuerySet[Subscription]) -> set[str]:
    return {customer_id for customer_id in rows.values_list("stripe_customer_id", flat=True) if customer_id}


def monthly_cents(subscription: objects.Subscription, customer_discount: Discount | None = None) -> int:
    """The recurring price a month in the currency's smallest unit, after recurring discounts, before taxes.

    The customer's own discount holds where the subscription has none, as at Stripe. Metered prices count as nothing,
    because nobody knows the usage to come. `once` coupons do not recur, and what ended before this period takes nothing
    off. An amount off is taken once a billing period: https://docs.stripe.com/billing/subscriptions/coupons

    Both arguments are as the gateway completes them, with coupons and tiers in place. Raises PermanentError for a price
    that says no amount.
    """
    items, currency = subscription["items"]["data"], subscription["currency"]
    parts = [_item_part(item, currency) for item in items]
    if items:
        discounts: Sequence[Discount | str | None] = subscription.get("discounts") or [customer_discount]
        parts = _discounted(parts, discounts, items[0], currency)
    shares = [_untaxed_share(item, subscription) for item in items]
    total = sum((part.cents * share for part, share in zip(parts, shares, strict=True)), Decimal(0))
    return int(total.to_integral_value(ROUND_HALF_UP))


def _untaxed_share(item: SubscriptionItem, subscription: objects.Subscription) -> Decimal:
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


def _item_part(item: SubscriptionItem, currency: str) -> Part:
    price = item["price"]
    product_id = identifier(price.get("product"))
    if (price.get("recurring") or {}).get("usage_type") == "metered":
        return Part(product_id, Decimal(0))
    quantity = item.get("quantity")
    per_period = _per_period(price, 1 if quantity is None else int(quantity), currency)
    part = Part(product_id, per_period * _periods_a_month(price))
    return _discounted([part], item.get("discounts"), item, currency)[0]


def _per_period(price: Price, quantity: int, currency: str) -> Decimal:
    """What the quantity costs a billing period, in the subscription's currency: a price may know several."""
    amounts: Amounts = price
    if price["currency"] != currency:
        amounts = (price.get("currency_options") or {}).get(currency) or {}
    if price.get("billing_scheme") == "tiered":
        tiers = amounts.get("tiers") or []
        if not tiers:
            raise _without_amount(price, currency)
        return _volume(tiers, quantity) if price.get("tiers_mode") == "volume" else _graduated(tiers, quantity)
    if amounts.get("unit_amount") is None and amounts.get("unit_amount_decimal") is None:
        raise _without_amount(price, currency)
    return _per_unit(amounts) * _packages(price, quantity)


def _without_amount(price: Price, currency: str) -> PermanentError:
    return PermanentError(
        f"Stripe says no recurring amount in {currency} for price {price['id']}. "
        "Give the price an amount in it at Stripe, then press Retry webhooks."
    )


def _packages(price: Price, quantity: int) -> int:
    """How many units are billed: prices of packages divide the quantity and round."""
    packages = price.get("transform_quantity")
    if not packages:
        return quantity
    divide_by = int(packages["divide_by"])
    return -(-quantity // divide_by) if packages["round"] == "up" else quantity // divide_by


def _volume(tiers: list[PriceTier], quantity: int) -> Decimal:
    """The tier that the quantity falls into prices all of it."""
    tier = next(tier for tier in tiers if (upto := tier.get("up_to")) is None or quantity <= upto)
    return _flat(tier) + _per_unit(tier) * quantity


def _graduated(tiers: list[PriceTier], quantity: int) -> Decimal:
    """Each tier prices what falls into it, and costs its flat amount once it is reached; the first always is."""
    total, below = Decimal(0), 0
    for tier in tiers:
        ends = tier.get("up_to")
        upto = quantity if ends is None else min(quantity, ends)
        total += _flat(tier) + _per_unit(tier) * (upto - below)
        if upto == quantity:
            break
        below = upto
    return total


def _flat(tier: PriceTier) -> Decimal:
    return _amount(tier.get("flat_amount"), tier.get("flat_amount_decimal"))


def _per_unit(amounts: Amounts | PriceTier) -> Decimal:
    return _amount(amounts.get("unit_amount"), amounts.get("unit_amount_decimal"))


def _amount(whole: int | None, exact: str | None) -> Decimal:
    """An amount that Stripe gives as a whole number or, in fractions of the smallest unit, as a decimal text."""
    return Decimal(str(whole or 0 if exact is None else exact))


def _periods_a_month(price: Price) -> Decimal:
    recurring = price.get("recurring") or {}
    return PER_MONTH[recurring.get("interval", "month")] / int(recurring.get("interval_count") or 1)


def _discounted(
    parts: list[Part], discounts: Sequence[Discount | str | None] | None, item: SubscriptionItem, currency: str
) -> list[Part]:
    """The parts after each discount, which may be for some products only; an amount off is shared among them."""
    for discount in discounts or []:
        if not isinstance(discount, dict):
            continue
        coupon = discount.get("coupon")
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


def _is_over(discount: Discount, item: SubscriptionItem) -> bool:
    """Whether the discount ended before the item's current period began."""
    ends, begins = discount.get("end"), item.get("current_period_start")
    return bool(ends and begins and ends <= begins)


def _amount_off(coupon: Coupon, currency: str) -> int:
    """What the coupon takes off in that currency; nothing in one that it does not know."""
    if coupon.get("currency") in (None, currency):
        return int(coupon.get("amount_off") or 0)
    option = (coupon.get("currency_options") or {}).get(currency) or {}
    return int(option.get("amount_off") or 0)
