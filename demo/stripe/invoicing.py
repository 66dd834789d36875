"""What the local Stripe charges: its own arithmetic of periods, prices, discounts, taxes and prorations.

Nothing here is stored. Amounts are in the currency's smallest unit, times in Unix seconds. Parts of a period are
counted by the second and rounded down: https://docs.stripe.com/billing/subscriptions/prorations
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import floor
from typing import Any

from demo.stripe.refusals import RefusalError
from glyphforge.money import money
from glyphforge.rows import Json

TIMES = "\N{MULTIPLICATION SIGN}"


def end_of_period(start: int, price: Json, anchor: int) -> int:
    """When the period that begins at `start` ends; months keep the anchor's day where they have it."""
    interval, count = price["recurring"]["interval"], int(price["recurring"].get("interval_count") or 1)
    began = datetime.fromtimestamp(start, UTC)
    if interval in ("day", "week"):
        return int((began + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = began.year * 12 + began.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(datetime.fromtimestamp(anchor, UTC).day, calendar.monthrange(year, month + 1)[1])
    return int(began.replace(year=year, month=month + 1, day=day).timestamp())


def amount_of(price: Json, quantity: int, currency: str) -> int:
    """What a quantity costs a period, before discounts and taxes; usage of metered prices is not known here."""
    if (price.get("recurring") or {}).get("usage_type") == "metered":
        return 0
    costs = price if price["currency"] == currency else (price.get("currency_options") or {}).get(currency)
    if costs is None:
        raise RefusalError(400, f"The price `{price['id']}` has no amount in `{currency}`.", param="items[0][price]")
    packages = price.get("transform_quantity")
    if packages:
        whole, rest = divmod(quantity, int(packages["divide_by"]))
        quantity = whole + (1 if rest and packages["round"] == "up" else 0)
    if price.get("billing_scheme") != "tiered":
        return _rounded(_unit(costs) * quantity)
    total, below = Decimal(0), 0
    volume = price["tiers_mode"] == "volume"
    for tier in costs["tiers"]:
        last = tier["up_to"] is None or quantity <= tier["up_to"]
        if last or not volume:
            within = quantity if volume else (quantity if last else tier["up_to"]) - below
            total += Decimal(tier.get("flat_amount_decimal") or tier.get("flat_amount") or 0) + _unit(tier) * within
        if last:
            break
        below = tier["up_to"]
    return _rounded(total)


def _unit(costs: Json) -> Decimal:
    return Decimal(costs.get("unit_amount_decimal") or costs.get("unit_amount") or 0)


def _rounded(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def part_of(amount: int, begins: int, ends: int, since: int) -> int:
    """What of a period's amount is for the time since then."""
    return floor(Fraction(amount * (ends - since), ends - begins))


def lines_of_period(subscription: Json, begins: int, ends: int, names: dict[str, str]) -> list[Json]:
    """What the items of a subscription cost a period; a trial costs nothing. `names` are those of products."""
    lines = []
    for item in subscription["items"]["data"]:
        trial = is_trial(subscription, begins)
        what = f"{item.get('quantity') or 0} {TIMES} {names[item['price']['product']]}"
        described = f"Free trial for {what}" if trial else f"{what}{_rate(item['price'], subscription['currency'])}"
        amount = 0 if trial else _gross(subscription, item)
        lines.append(_line(subscription, item, amount, described, {"start": begins, "end": ends}))
    return lines


def _rate(price: Json, currency: str) -> str:
    """As in ` (at $29.00 / month)`; nothing of a price that is no whole amount a unit."""
    if price["currency"] != currency or price.get("unit_amount") is None:
        return ""
    amount = money(price["unit_amount"], currency)
    amount = f"${amount.removesuffix(' USD').replace(',', '')}" if currency == "usd" else amount
    return f" (at {amount} / {price['recurring']['interval']})"


def lines_of_change(before: Json, after: Json, at: int, names: dict[str, str], *, restarts: bool) -> list[Json]:
    """Credit for the unused time of what an item was, and the charge for the rest of what it is.

    With `restarts` a new period begins, which is charged whole, so the credit stands alone. During a trial nothing was
    paid and nothing is given back.
    """
    if is_trial(before, at):
        return []
    lines = []
    for was, item in zip(before["items"]["data"], after["items"]["data"], strict=True):
        if restarts or not _same(was, item):
            lines.append(_proration(before, was, was, at, names, credit=True))
        if not restarts and not _same(was, item):
            lines.append(_proration(after, item, was, at, names, credit=False))
    return lines


def _same(was: Json, item: Json) -> bool:
    return bool(was["price"]["id"] == item["price"]["id"] and was.get("quantity") == item.get("quantity"))


def _proration(subscription: Json, item: Json, period: Json, at: int, names: dict[str, str], *, credit: bool) -> Json:
    begins, ends = period["current_period_start"], period["current_period_end"]
    whole = _gross(subscription, item)
    whole -= sum(_discounted([whole], subscription["discounts"], subscription["currency"]).values())
    amount = part_of(-whole if credit else whole, begins, ends, at)
    on = f"{names[item['price']['product']]} after {datetime.fromtimestamp(at, UTC):%d %b %Y}"
    described = f"{'Unused' if credit else 'Remaining'} time on {on}"
    return _line(subscription, item, amount, described, {"start": at, "end": ends}, proration=True)


def _gross(subscription: Json, item: Json) -> int:
    return amount_of(item["price"], int(item.get("quantity") or 0), subscription["currency"])


def is_trial(subscription: Json, at: int) -> bool:
    """Whether nothing is charged at a time yet."""
    return bool(subscription.get("trial_end") and at < subscription["trial_end"])


def _line(
    subscription: Json, item: Json, amount: int, description: str, period: Json, *, proration: bool = False
) -> Json:
    price = item["price"]
    return {
        "object": "line_item",
        "amount": amount,
        "currency": subscription["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "livemode": False,
        "metadata": {},
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
        "period": period,
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": None if proration else price.get("unit_amount_decimal"),
        },
        "quantity": item.get("quantity"),
        "subtotal": amount,
        "taxes": [],
    }


def totals(subscription: Json, lines: list[Json], discounts: list[Json], balance: int) -> Json:
    """The sums of an invoice over its lines, discounts, taxes and the customer's balance, as Stripe names them.

    Discounts take off what is no proration, which has them in its amount; a credit that is left goes to the balance.
    """
    subtotal = sum(line["amount"] for line in lines)
    open_lines = [line["amount"] for line in lines if line["discountable"]]
    off = _discounted(open_lines, discounts, subscription["currency"])
    taxable = subtotal - sum(off.values())
    taxes: list[Json] = []
    exclusive = 0
    for rate in subscription.get("default_tax_rates") or []:
        percentage = Decimal(str(rate["percentage"]))
        share = percentage / (100 + percentage) if rate["inclusive"] else percentage / 100
        tax = _rounded(taxable * share)
        exclusive += 0 if rate["inclusive"] else tax
        behavior = "inclusive" if rate["inclusive"] else "exclusive"
        taxes.append({"amount": tax, "tax_behavior": behavior, "tax_rate_details": {"tax_rate": rate["id"]}})
    total = taxable + exclusive
    due = max(total + balance, 0)
    return {
        "subtotal": subtotal,
        "total_discount_amounts": [{"discount": name, "amount": cents} for name, cents in off.items()],
        "total_taxes": taxes,
        "total_excluding_tax": total - sum(tax["amount"] for tax in taxes),
        "total": total,
        "starting_balance": balance,
        "ending_balance": min(total + balance, 0) if total < 0 or balance < 0 else balance,
        "amount_due": due,
        "amount_paid": 0,
        "amount_remaining": due,
    }


def _discounted(amounts: list[int], discounts: list[Json], currency: str) -> dict[str, int]:
    """What each discount takes off, one after the other, by its id; never more than there is."""
    left, off = sum(amounts), dict[str, int]()
    for discount in discounts:
        coupon = coupon_of(discount)
        if coupon.get("percent_off"):
            taken = _rounded(left * Decimal(str(coupon["percent_off"])) / 100)
        else:
            taken = int(coupon["amount_off"]) if coupon.get("currency") == currency else 0
        off[discount["id"]] = min(taken, max(left, 0))
        left -= off[discount["id"]]
    return off


def coupon_of(discount: Json) -> Json:
    """The coupon of a discount as it is held here, whole."""
    coupon: Json = discount.get("coupon") or discount["source"]["coupon"]
    return coupon


def recurring(discounts: list[Json]) -> list[Json]:
    """The discounts that take something off after the next invoice, too."""
    return [discount for discount in discounts if coupon_of(discount)["duration"] != "once"]


def invoice_of(subscription: Json, lines: list[Json], sums: Json, *, at: int, reason: str) -> Json:
    """An invoice that is not finalized, without an id: https://docs.stripe.com/api/invoices/object"""
    members: dict[str, Any] = {
        "object": "invoice",
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": False,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "created": at,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": subscription.get("default_tax_rates") or [],
        "discounts": [discount["id"] for discount in subscription["discounts"]],
        "due_date": None,
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "parent": {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": subscription["id"]},
        },
        "payment_settings": {},
        "period_end": at,
        "period_start": subscription["items"]["data"][0]["current_period_start"],
        "status": "draft",
        "status_transitions": {"finalized_at": None, "paid_at": None},
    }
    return members | {"lines": {"object": "list", "has_more": False, "data": lines, "url": "/v1/invoices/lines"}} | sums
