"""Changing what a subscription is for: previewed to the cent, and then done exactly so.

Stripe reckons: https://docs.stripe.com/api/invoices/create_preview. Our rows change when its event comes back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.core import signing
from django.db.models import DateField, Subquery
from django.db.models.functions import Now, TruncMonth

from billing.models import Plan, QuotaUsage, Sold, StripeRequest, Subscription, Tier
from billing.services.stripe_calls import errors_as_refused
from billing.services.subscriptions import at_stripe
from billing.stripe import gateway, mirror, plan_change, tiers
from billing.stripe.errors import MissingError
from billing.stripe.events.event_object import identifier
from billing.stripe.objects import Discount, Price
from billing.stripe.projection import prices
from billing.stripe.requests import outbox
from billing.stripe.requests.act import STALE
from billing.stripe.requests.outbox import Intent
from billing.stripe.requests.plan_acts import period_end
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused
from glyphforge.rows import Json

# What was shown is charged for so long; then it is shown anew.
SHOWN_FOR = 1_800
SALT = "billing.plan_changes"
NOW, NEXT_INVOICE, PERIOD_END = "now", "next_invoice", "period_end"
BEHAVIOR = {
    NOW: plan_change.ALWAYS_INVOICE,
    NEXT_INVOICE: plan_change.CREATE_PRORATIONS,
    PERIOD_END: plan_change.NO_PRORATIONS,
}


@dataclass(frozen=True)
class Terms:
    """What a subscription is to be: `when` is NOW, NEXT_INVOICE (now, charged later) or PERIOD_END."""

    price_id: str
    quantity: int
    when: str
    coupon: str = ""


@dataclass(frozen=True)
class Bill:
    """What an invoice comes to, in the currency's smallest unit; `lines` are descriptions with amounts.

    `balance` is what the customer's credit takes off (negative) or what was carried over.
    """

    lines: list[tuple[str, int]]
    subtotal: int
    discount: int
    tax: int
    total: int
    balance: int
    to_pay: int


@dataclass(frozen=True)
class Limits:
    """Requests a month before and after, extra quota included, None for unlimited; and what counts so far."""

    before: int | None
    after: int | None
    used: int

    @property
    def falls(self) -> bool:
        """Whether the new limit is lower."""
        return self.after is not None and (self.before is None or self.after < self.before)

    @property
    def is_exceeded(self) -> bool:
        """Whether the new limit is lower, and more than it is used already."""
        return self.falls and self.after is not None and self.used > self.after


@dataclass(frozen=True)
class Preview:
    """What a change comes to. `now` is the invoice that is made at once, None where none is; `next` the one after it.

    `monthly_before` and `monthly_after` are what counts as MRR. `change` is what is asked of Stripe for it.
    """

    currency: str
    tier_before: str
    tier_after: str
    monthly_before: int
    monthly_after: int
    limits: Limits
    now: Bill | None
    next: Bill
    next_at: datetime
    change: Json


def offered_prices(subscription: Subscription) -> list[tuple[Price, str]]:
    """The active recurring prices, known here, that sell a plan in the subscription's currency, with their plans.

    Metered ones are not: what they come to is not known before. The price that it has is, be it archived.
    """
    had = subscription.stripe_price_id
    found = [price for price in mirror.recurring_prices(had) if price["currency"] == subscription.currency]
    found = [price for price in found if (price.get("recurring") or {}).get("usage_type") != "metered"]
    sold = tiers.tiers_of(found) | ({had: subscription.tier} if had else {})
    return [(price, str(tier)) for price in found if (tier := sold[price["id"]]) in Tier.values]


def preview(row: Subscription, terms: Terms) -> Preview:
    """Ask Stripe what the change would come to; nothing is changed.

    Refuses the free plan, a subscription that has ended, is set to end, is managed by a schedule or is not as our row
    says, one whose price is metered, a price that sells no plan or is in another currency, what changes nothing, an
    unknown coupon, and what Stripe refuses or does not answer.
    """
    subscription_id = at_stripe(row)
    if row.is_set_to_end:
        raise Refused("The subscription is set to end: resume it before its plan is changed.")
    if row.stripe_schedule_id:
        raise Refused(f"The schedule {row.stripe_schedule_id} manages it: take back its planned changes before.")
    if terms.when not in BEHAVIOR:
        raise Refused(f"There is no {terms.when!r}; there are {', '.join(BEHAVIOR)}.")
    with errors_as_refused():
        found = gateway.as_json(gateway.retrieve("subscription", subscription_id))
        items = found["items"]["data"]
        item = next((item for item in items if item["price"]["id"] == row.stripe_price_id), None)
        if item is None:
            raise Refused(f"At Stripe the subscription has another price than {row.stripe_price_id}. {STALE}")
        price = _price(terms, found["currency"])
        change = _change(terms, price, item, found)
        if plan_change.is_made(change, found):
            raise Refused(f"The subscription has this price and quantity already. {STALE}")
        # Who has a price keeps its plan, whatever became of the price.
        sold = tiers.tiers_of([*(each["price"] for each in items), price]) | {row.stripe_price_id: row.tier}
        tier = sold[terms.price_id]
        if tier is None or tier == Sold.FOREIGN:
            raise Refused(f"No plan claims the price {terms.price_id}: map it under Plan prices.")
        ours = {each["id"]: each for each in items if sold[each["price"]["id"]] != Sold.FOREIGN}
        changed = ours | {item["id"]: {**item, "price": price, "quantity": change["quantity"]}}
        discounts = [*(found.get("discounts") or []), *_discount_of(terms.coupon)]
        of_customer = mirror.customer_discount(str(row.stripe_customer_id))
        monthly = [
            _monthly(found, of_customer, list(ours.values()), found.get("discounts")),
            _monthly(found, of_customer, list(changed.values()), discounts),
        ]
        return _reckoned(row, found, change | {"tier": tier}, monthly)


def change_plan(
    subscription: Subscription,
    shown: Json,
    *,
    actor: str,
    reason: str,
    token: str = "",
    over_limit: str = "",
    keeps_month: bool = False,
) -> StripeRequest:
    """Do what `shown`, the `change` of a preview, says: as of its moment, for what it came to.

    Where the limit falls, `keeps_month` has what it falls by granted until the month (UTC) of the change ends; without
    it the new one holds at once, and `over_limit` says why one is all right that is exceeded already; else that is
    refused. All of it goes through `billing.stripe.requests.outbox.ask`, which says what `token` is, what else is
    refused and when `Notice` is raised; so is a subscription that is not any more as it was shown, or would cost
    something else by now.
    """
    at_end = shown["behavior"] == plan_change.NO_PRORATIONS
    kind = StripeRequest.Kind.CHANGE_PLAN_AT_PERIOD_END if at_end else StripeRequest.Kind.CHANGE_PLAN

    def intend() -> Intent:
        row = Subscription.objects.select_related("entitlement").get(pk=subscription.pk)
        limits = limits_of(row, shown["tier"])
        keeps = keeps_month and limits.falls
        if limits.is_exceeded and not keeps and not over_limit:
            raise Refused(
                f"The customer uses {limits.used:,} of the new {limits.after:,}: say why the lower limit is all right."
            )
        said: Json = {"keeps_month": True} if keeps else {}
        if limits.is_exceeded and not keeps:
            said = {"over_limit": over_limit}
        return Intent(kind, at_stripe(row), row.pk, row.user, shown | said)

    return outbox.ask(intend, actor=actor, reason=reason, token=token)


def sign(subscription: Subscription, terms: Terms, change: Json) -> str:
    """The change that was shown, for a form to carry: nobody can alter its moment or its amounts."""
    return signing.dumps([str(subscription.pk), asdict(terms), change], salt=SALT)


def shown(subscription: Subscription, terms: Terms, signed: str) -> Json | None:
    """The change that a form carries; None where it is of other terms, or too long ago."""
    try:
        of, said, change = signing.loads(signed, salt=SALT, max_age=SHOWN_FOR)
    except signing.BadSignature:
        return None
    same = (of, said) == (str(subscription.pk), asdict(terms))
    return dict(change) if same else None


def limits_of(row: Subscription, tier: str) -> Limits:
    """The customer's limit now and with another plan, and what was used this month; a status that does not entitle
    keeps the free plan's."""
    entitlement = getattr(row, "entitlement", None)
    month = TruncMonth(Now(), output_field=DateField(), tzinfo=UTC)
    usage = QuotaUsage.objects.filter(user_id=row.user_id, month=month).values("used_requests")
    plan = Plan.objects.annotate(used=Subquery(usage[:1])).get(pk=tier)
    is_entitled = entitlement is None or entitlement.is_entitled
    after = plan.monthly_request_limit if is_entitled else row.limit
    if is_entitled and after is not None:
        after += row.extra_requests
    return Limits(before=row.limit, after=after, used=plan.used or 0)


def _price(terms: Terms, currency: str) -> Price:
    try:
        price: Price = gateway.as_json(gateway.retrieve("price", terms.price_id))
    except MissingError:
        raise Refused(f"Stripe knows no price {terms.price_id}.") from None
    recurring = price.get("recurring")
    if price["currency"] != currency:
        raise Refused(f"The price is in {price['currency'].upper()}, the subscription in {currency.upper()}.")
    if not recurring or recurring.get("usage_type") == "metered":
        raise Refused("A price that is metered or is paid once is changed in Stripe's dashboard.")
    return price


def _change(terms: Terms, price: Price, item: Any, found: Any) -> Json:
    if (item["price"].get("recurring") or {}).get("usage_type") == "metered":
        raise Refused("The subscription's price is metered: change it in Stripe's dashboard.")
    if terms.quantity < 1:
        raise Refused(f"A quantity is 1 or more, not {terms.quantity}.")
    recurring = price.get("recurring") or {}
    ends = period_end(item, found)
    return {
        "item": item["id"],
        "price": terms.price_id,
        "quantity": terms.quantity,
        "coupon": terms.coupon,
        "behavior": BEHAVIOR[terms.when],
        "proration_date": min(int(database_time().timestamp()), ends),
        "duration": {
            "interval": recurring.get("interval", "month"),
            "interval_count": recurring.get("interval_count") or 1,
        },
        "was": {"price": item["price"]["id"], "quantity": item.get("quantity"), "period_end": ends},
    }


def _discount_of(coupon_id: str) -> list[Json]:
    """The discount that the coupon would make, as far as it counts for the price a month."""
    if not coupon_id:
        return []
    try:
        return [{"coupon": gateway.as_json(gateway.retrieve("coupon", coupon_id)), "end": None}]
    except MissingError:
        raise Refused(f"Stripe knows no coupon {coupon_id}.") from None


def _monthly(found: Any, of_customer: Discount | None, items: list[Any], discounts: Any) -> int:
    """What counts as MRR of the subscription with such items and discounts, or else the customer's."""
    one = {**found, "items": {**found["items"], "data": items}, "discounts": discounts}
    return prices.monthly_cents(gateway.completed("subscription", one), of_customer)


def _reckoned(row: Subscription, found: Any, change: Json, monthly: list[int]) -> Preview:
    ends, at_end = change["was"]["period_end"], change["behavior"] == plan_change.NO_PRORATIONS
    first = plan_change.preview(change, found)
    upcoming, next_at, lines = first, ends, first["lines"]["data"]
    # What is not charged at once is in the invoice of the next period. At the end of this one nothing is charged
    # before, and another interval, which Stripe shows as if it began now, costs the same.
    if not at_end and lines and all(line["period"]["start"] < ends for line in lines):
        upcoming = plan_change.preview(change, found, mode="recurring")
        # Another interval begins a period of its own at once; what is given back for the old one may reach beyond it.
        next_at = max(line["period"]["end"] for line in lines if _price_of(line) == change["price"])
    now = first if first is not upcoming else None
    return Preview(
        currency=found["currency"],
        tier_before=row.tier,
        tier_after=change["tier"],
        monthly_before=monthly[0],
        monthly_after=monthly[1],
        limits=limits_of(row, change["tier"]),
        now=bill_of(now) if now else None,
        next=bill_of(_with_balance(upcoming, now["ending_balance"] or 0) if now else upcoming),
        next_at=datetime.fromtimestamp(next_at, UTC),
        change=change | {"shown_cents": first["amount_due"], "currency": found["currency"]},
    )


def _price_of(line: Any) -> str | None:
    """https://docs.stripe.com/api/invoice-line-item/object#invoice_line_item_object-pricing"""
    details = (line.get("pricing") or {}).get("price_details") or {}
    return identifier(details.get("price"))


def _with_balance(invoice: Any, balance: int) -> Any:
    """A recurring invoice, which knows of no balance, after one that leaves this to the customer."""
    return {**invoice, "amount_due": max(invoice["total"] + balance, 0)}


def bill_of(invoice: Any) -> Bill:
    """What a previewed invoice comes to; taxes are told one by one.

    https://docs.stripe.com/api/invoices/object#invoice_object-total_taxes
    """
    taxes, discounts = invoice.get("total_taxes") or [], invoice.get("total_discount_amounts") or []
    return Bill(
        lines=[(line.get("description") or "", line["amount"]) for line in invoice["lines"]["data"]],
        subtotal=invoice["subtotal"],
        discount=-sum(each["amount"] for each in discounts),
        tax=sum(each["amount"] for each in taxes),
        total=invoice["total"],
        balance=invoice["amount_due"] - invoice["total"],
        to_pay=invoice["amount_due"],
    )
