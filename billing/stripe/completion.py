"""What Stripe leaves out of an object, or spells as older versions did, put as it is documented today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Lookups:
    """What has to be asked for by itself, each None for what is gone, and a list of nothing.

    `coupon` is asked by id and time of creation, `tiers` by a price's id, `options` by that and a currency.
    """

    coupon: Callable[[str, int | None], Any]
    tiers: Callable[[str], Any]
    options: Callable[[str, str], Any]
    nothing: Callable[[], Any]


def complete(kind: str, item: Any, look_up: Lookups) -> Any:
    """Page through a cut list; put coupons in place of their ids, and amounts into prices.

    What older versions spell otherwise is as it is documented today: currencies in lower case, an empty list for none.
    """
    _spell_currency(item)
    if kind == "subscription":
        _complete_subscription(item, look_up)
    if kind == "invoice":
        item["lines"] = _whole(item.get("lines") or look_up.nothing())
    if kind == "customer" and item.get("discount"):
        _put_coupon(item["discount"], look_up)
    return item


def _complete_subscription(item: Any, look_up: Lookups) -> None:
    item["items"] = lines = _whole(item.get("items") or look_up.nothing())
    item["default_tax_rates"] = item.get("default_tax_rates") or []
    for holder in (item, *lines["data"]):
        for discount in holder.get("discounts") or []:
            _put_coupon(discount, look_up)
    for line in lines["data"]:
        line["tax_rates"] = line.get("tax_rates") or []
        if line.get("price"):
            _spell_currency(line["price"])
            _put_amounts(line["price"], item["currency"], look_up)


def _spell_currency(item: Any) -> None:
    if isinstance(item.get("currency"), str):
        item["currency"] = item["currency"].lower()


def _whole(found: Any) -> Any:
    """A nested list with all its members."""
    if found.get("has_more"):
        found["data"] = list(found.auto_paging_iter())
        found["has_more"] = False
    return found


def _put_coupon(discount: Any, look_up: Lookups) -> None:
    """Newer versions name the coupon at `source.coupon`, older ones (and dj-stripe) at `coupon`.

    Which products it is for, and what it takes off in other currencies, is said only to who asks for the coupon itself.
    """
    if isinstance(discount, str):
        return
    coupon = discount.get("coupon") or (discount.get("source") or {}).get("coupon")
    if coupon:
        known = coupon if isinstance(coupon, str) else coupon["id"]
        created = None if isinstance(coupon, str) else coupon.get("created")
        found = look_up.coupon(known, created)
        # Under the id of a deleted coupon another one may have been made, with other terms.
        same = found and created in (None, found.get("created"))
        coupon = found if same else None if isinstance(coupon, str) else coupon
    discount["coupon"] = coupon


def _put_amounts(price: Any, currency: str, look_up: Lookups) -> None:
    """Tiers, and amounts in other currencies than the price's own, are said only to who asks for the price itself."""
    if price["currency"] != currency:
        price["currency_options"] = look_up.options(price["id"], currency)
    elif price.get("billing_scheme") == "tiered" and not price.get("tiers"):
        price["tiers"] = look_up.tiers(price["id"])
