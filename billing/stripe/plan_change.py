"""A change of a subscription's price, quantity and discounts: what Stripe is told of it, in a preview and for good.

The `change` is what a request's parameters say: `item` is the id of the item whose `price` and `quantity` change, `was`
what it was; `coupon` is added where it is not empty; `behavior` says how the rest of the period is charged, and
`proration_date`, in Unix seconds, as of when: https://docs.stripe.com/billing/subscriptions/prorations
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from billing.stripe import gateway
from glyphforge.rows import Json

ALWAYS_INVOICE = "always_invoice"
CREATE_PRORATIONS = "create_prorations"
NO_PRORATIONS = "none"


def terms(change: Json, found: Any) -> Json:
    """The members of the subscription `found` that change, see https://docs.stripe.com/api/subscriptions/update"""
    item = {"id": change["item"], "quantity": change["quantity"]}
    if change["price"] != change["was"]["price"]:  # an archived one may be kept, and not be asked for
        item["price"] = change["price"]
    told: Json = {"items": [item], "proration_behavior": change["behavior"]}
    if change["behavior"] != NO_PRORATIONS:
        told["proration_date"] = change["proration_date"]
    if change.get("coupon"):
        told["discounts"] = discounts_with(found, change["coupon"])
    return told


def preview(change: Json, found: Any, *, mode: str = "next") -> Any:
    """The invoice that the change would make, or the next one: nothing is changed.

    With `mode` `recurring` what is charged once is left out: https://docs.stripe.com/api/invoices/create_preview
    """
    details = terms(change, found)
    discounts = {"discounts": details.pop("discounts")} if "discounts" in details else {}
    return gateway.preview(subscription=found["id"], subscription_details=details, preview_mode=mode, **discounts)


def is_made(change: Json, found: Any) -> bool:
    """Whether the subscription is as it would be after the change."""
    item = item_of(found, change["item"])
    has = item is not None and (item["price"]["id"], item.get("quantity")) == (change["price"], change["quantity"])
    return has and (not change.get("coupon") or change["coupon"] in coupons_of(found))


def item_of(found: Any, item_id: str) -> Any | None:
    """An item of a subscription by its id."""
    return next((item for item in found["items"]["data"] if item["id"] == item_id), None)


def coupons_of(found: Any) -> list[str]:
    """The ids of the coupons of a subscription whose discounts are whole; of one that was deleted none is known."""
    return [discount["coupon"]["id"] for discount in _whole(found.get("discounts")) if discount.get("coupon")]


def discounts_with(found: Any, coupon: str) -> list[dict[str, str]]:
    """The discounts of a subscription, which keep their time, and the coupon after them: setting them replaces all."""
    return [*_kept(found.get("discounts")), {"coupon": coupon}]


def discounts_without(found: Any, discount_id: str) -> list[dict[str, str]] | str:
    """The other discounts of a subscription; an empty text, which is how Stripe is told of none."""
    return [kept for kept in _kept(found.get("discounts")) if kept["discount"] != discount_id] or ""


def _kept(discounts: Iterable[Any] | None) -> list[dict[str, str]]:
    return [{"discount": each if isinstance(each, str) else str(each["id"])} for each in discounts or []]


def _whole(discounts: Iterable[Any] | None) -> list[Any]:
    return [each for each in discounts or [] if not isinstance(each, str)]
