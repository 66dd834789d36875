"""Changes of a subscription at the local Stripe: one reckoning, which a preview shows and an update carries out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from demo.stripe import invoicing
from demo.stripe.refusals import RefusalError, missing
from glyphforge.rows import Json

Objects = dict[str, Json]
# What an invoice item and the line that comes of it have in common.
KEPT = ("amount", "currency", "description", "discountable", "livemode", "metadata", "period", "pricing", "quantity")


@dataclass
class Change:
    """What becomes of a subscription: as it is afterwards, what is charged for the change, and by which invoice.

    `invoice` is made at once, None where there is nothing to charge now; `pending` waits for the next one.
    """

    subscription: Json
    pending: list[Json] = field(default_factory=list)
    invoice: Json | None = None


def reckon(objects: Objects, subscription: Json, params: Json, *, now: int) -> Change:
    """What the change that `params` ask for comes to: https://docs.stripe.com/api/subscriptions/update

    `params` are as parsed from the form: all values are text. Nothing is changed but copies.
    """
    after = copy.deepcopy(subscription)
    _change_discounts(objects, after, params, now)
    if "trial_end" in params:
        after["trial_end"] = _moment(params["trial_end"], now)
        for item in after["items"]["data"]:
            item["current_period_end"] = after["trial_end"]
    _change_items(objects, after, params)
    first, was = after["items"]["data"][0], subscription["items"]["data"][0]
    behavior = params.get("proration_behavior", "create_prorations")
    at = int(params.get("proration_date", now))
    if "proration_date" in params and not was["current_period_start"] <= at <= was["current_period_end"]:
        raise RefusalError(
            400,
            "When passing in a proration_date, it must be within the current period of the subscription.",
            param="proration_date",
        )
    restarts = first["price"]["recurring"] != was["price"]["recurring"] and not invoicing.is_trial(subscription, at)
    change = Change(after)
    if behavior != "none":
        names = _names(objects, subscription, after)
        change.pending = invoicing.lines_of_change(subscription, after, at, names, restarts=restarts)
    if restarts:
        after["billing_cycle_anchor"] = at
        for item in after["items"]["data"]:
            ends = invoicing.end_of_period(at, item["price"], at)
            item.update(current_period_start=at, current_period_end=ends)
        lines = invoicing.lines_of_period(after, at, first["current_period_end"], _names(objects, after))
    else:
        lines = []
    if lines or (behavior == "always_invoice" and change.pending):
        lines = [*_waiting(objects, subscription), *change.pending, *lines]
        change.invoice = _invoice(objects, after, lines, at=now, reason="subscription_update")
        change.pending = []
    return change


def upcoming(objects: Objects, change: Change, *, mode: str = "next") -> Json:
    """The invoice of the period to come; `recurring` leaves out what is charged once.

    https://docs.stripe.com/api/invoices/create_preview
    """
    after = change.subscription
    if after["cancel_at_period_end"] or after["status"] == "canceled":
        raise RefusalError(404, f"No upcoming invoices for customer: {after['customer']}", code="invoice_upcoming_none")
    begins = after["items"]["data"][0]["current_period_end"]
    ends = invoicing.end_of_period(begins, after["items"]["data"][0]["price"], after["billing_cycle_anchor"])
    lines = invoicing.lines_of_period(after, begins, ends, _names(objects, after))
    if mode == "recurring":
        sums = invoicing.totals(after, lines, invoicing.recurring(after["discounts"]), 0)
        return invoicing.invoice_of(after, lines, sums, at=begins, reason="upcoming")
    known = [] if change.invoice else _waiting(objects, after)
    return _invoice(objects, after, [*known, *change.pending, *lines], at=begins, reason="upcoming")


def waiting_items(objects: Objects, subscription_id: str) -> list[Json]:
    """The invoice items that wait for the subscription's next invoice, as they are stored."""
    return [
        item
        for item in objects.values()
        if item.get("object") == "invoiceitem"
        and item["invoice"] is None
        and ((item.get("parent") or {}).get("subscription_details") or {}).get("subscription") == subscription_id
    ]


def invoice_item(line: Json, customer_id: str, item_id: str, *, at: int) -> Json:
    """A line that waits for the next invoice, as an object: https://docs.stripe.com/api/invoiceitems/object"""
    details = line["parent"]["subscription_item_details"]
    of = {name: details[name] for name in ("subscription", "subscription_item")}
    return {
        "id": item_id,
        "object": "invoiceitem",
        "customer": customer_id,
        "date": at,
        "discounts": [],
        "invoice": None,
        "parent": {"type": "subscription_details", "subscription_details": of},
        "proration": True,
        "tax_rates": [],
    } | {name: line[name] for name in KEPT}


def _line_of(item: Json) -> Json:
    """How an invoice has an item that waited for it."""
    details: Json = item["parent"]["subscription_details"] | {
        "invoice_item": item["id"],
        "proration": True,
        "proration_details": {"credited_items": None},
    }
    parent = {"type": "subscription_item_details", "subscription_item_details": details}
    return {"object": "line_item", "parent": parent} | {name: copy.deepcopy(item[name]) for name in KEPT}


def _waiting(objects: Objects, subscription: Json) -> list[Json]:
    return [_line_of(item) for item in waiting_items(objects, subscription["id"])]


def _names(objects: Objects, *subscriptions: Json) -> dict[str, str]:
    """The names of the products, or their ids where the account has them no more."""
    ids = {item["price"]["product"] for subscription in subscriptions for item in subscription["items"]["data"]}
    return {product_id: objects.get(product_id, {}).get("name") or product_id for product_id in ids}


def _invoice(objects: Objects, subscription: Json, lines: list[Json], *, at: int, reason: str) -> Json:
    balance = int(objects[subscription["customer"]].get("balance") or 0)
    sums = invoicing.totals(subscription, lines, subscription["discounts"], balance)
    return invoicing.invoice_of(subscription, lines, sums, at=at, reason=reason)


def _change_items(objects: Objects, after: Json, params: Json) -> None:
    for wanted in params.get("items") or []:
        item = next((item for item in after["items"]["data"] if item["id"] == wanted.get("id")), None)
        if item is None:
            raise RefusalError(400, f"No such subscription item: '{wanted.get('id')}'", param="items[0][id]")
        if "price" in wanted:
            item["price"] = copy.deepcopy(_price(objects, wanted["price"], after["currency"]))
            item["quantity"] = 1
        if "quantity" in wanted:
            item["quantity"] = int(wanted["quantity"])


def _price(objects: Objects, price_id: str, currency: str) -> Json:
    price = objects.get(price_id)
    if price is None or price.get("object") != "price":
        raise missing("price", price_id)
    if not price["active"]:
        raise RefusalError(400, f"The price specified is inactive: `{price_id}`.", param="items[0][price]")
    invoicing.amount_of(price, 1, currency)  # refuses a currency that it does not know
    return price


def _change_discounts(objects: Objects, after: Json, params: Json, now: int) -> None:
    if "discounts" not in params:
        return
    known = {discount["id"]: discount for discount in after["discounts"]}
    after["discounts"] = []
    for number, wanted in enumerate(params["discounts"] or []):
        if kept := known.get(wanted.get("discount", "")):
            after["discounts"].append(kept)
            continue
        coupon = objects.get(wanted.get("coupon", ""))
        if coupon is None or coupon.get("object") != "coupon":
            raise missing("coupon", wanted.get("coupon") or wanted.get("discount") or "")
        after["discounts"].append(
            {
                "id": f"di_{after['id'].removeprefix('sub_')}{now}{number}",
                "object": "discount",
                "customer": after["customer"],
                "end": None,
                "source": {"type": "coupon", "coupon": copy.deepcopy(coupon)},
                "start": now,
                "subscription": after["id"],
            }
        )


def _moment(value: str, now: int) -> int:
    moment = now if value == "now" else int(value)
    if moment < now:
        raise RefusalError(400, "Timestamp cannot be in the past.", param="trial_end")
    return moment
