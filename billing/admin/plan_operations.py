"""Changing a subscription's plan: what it would come to, line by line, and then exactly that."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing.admin.price_operations import billing_period
from billing.admin.stripe_operation import SubscriptionOperation, told
from billing.models import Subscription, Tier
from billing.services import plan_changes, subscriptions
from billing.services.plan_changes import Bill, Limits, Terms
from billing.stripe.objects import Price
from glyphforge.admin.columns import number
from glyphforge.admin.operations import GIVEN, Preview, ReasonForm
from glyphforge.money import money
from glyphforge.rows import Json

MOST = 999_999_999
KEEP, LOWER = "keep", "lower"


class PlanForm(ReasonForm):
    """The price, quantity and coupon that a subscription is to have, and when.

    Where the limit falls, what becomes of the month; with one that is used up why.
    """

    beside_preview = ReasonForm.beside_preview | {"over_limit", "rest_of_month"}

    price = forms.ChoiceField(label="Price", widget=UnfoldAdminSelectWidget)
    quantity = forms.IntegerField(min_value=1, max_value=MOST, widget=UnfoldAdminIntegerFieldWidget)
    when = forms.ChoiceField(
        label="When",
        choices=[
            (plan_changes.NOW, "Now; the difference for the rest of the period is invoiced at once"),
            (plan_changes.NEXT_INVOICE, "Now; the difference is on the next invoice"),
            (plan_changes.PERIOD_END, "At the end of the period"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    coupon = forms.CharField(
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget,
        help_text="Its id at Stripe, to be applied beside what the subscription has. Empty applies none.",
    )
    rest_of_month = forms.ChoiceField(
        label="If the limit falls",
        required=False,
        choices=[
            ("", "It does not"),
            (KEEP, "What it falls by is granted until the month of the change ends, UTC"),
            (LOWER, "The new limit holds at once"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    over_limit = forms.CharField(
        label="Why the lower limit is all right",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Only where the customer uses more than the new plan allows. Goes into the audit log.",
    )
    field_order = ["price", "quantity", "when", "coupon", "rest_of_month", "over_limit", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        self.row: Subscription | None = rows.first()
        self.change: Json = {}  # what was shown and is confirmed
        if self.row is None:
            return
        price: Any = self.fields["price"]
        price.choices = list(_choices(plan_changes.offered_prices(self.row)))
        self.initial.setdefault("price", self.row.stripe_price_id)
        self.initial.setdefault("quantity", self.row.quantity)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.row is None or not self.is_confirmed or self.errors.keys() - self.beside_preview:
            return cleaned
        self.change = plan_changes.shown(self.row, self.terms, self.shown) or {}
        if not self.change:
            raise forms.ValidationError("This is what it comes to now: look at it, and confirm.")
        limits = plan_changes.limits_of(self.row, self.change["tier"])
        rest = cleaned.get("rest_of_month")
        if limits.falls and not rest:
            self.add_error("rest_of_month", f"The limit {_falls(limits)}: say what becomes of the month.")
        elif limits.is_exceeded and rest != KEEP and not cleaned.get("over_limit"):
            self.add_error("over_limit", f"The customer {_used(limits)}: say why that is all right.")
        return cleaned

    @property
    def terms(self) -> Terms:
        """What the subscription is to be."""
        said = self.cleaned_data
        return Terms(said["price"], said["quantity"], said["when"], said["coupon"].strip())


def _choices(offered: list[tuple[Price, str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The prices by plan, the plans from the lowest to the highest."""
    for tier in Tier:
        of_tier = [(price["id"], _named(price)) for price, sold in offered if sold == tier]
        if of_tier:
            yield str(tier.label), of_tier


def _named(price: Price) -> str:
    recurring = price.get("recurring") or {}
    count = int(recurring.get("interval_count") or 1)
    period = billing_period(price.get("unit_amount"), price["currency"], recurring.get("interval", ""), count)
    return f"{period} ({price.get('lookup_key') or price['id']})"


def _falls(limits: Limits) -> str:
    before, after = (number(limit, none="unlimited") for limit in (limits.before, limits.after))
    return f"falls from {before} to {after}"


def _used(limits: Limits) -> str:
    return f"uses {limits.used:,} of the new {limits.after:,}"


class ChangePlan(SubscriptionOperation):
    """Price, quantity or discount become others, now or at the end of the period."""

    name = "change_plan"
    label = "Change plan"
    permission = "billing.change_plan"
    icon = "swap_vert"
    form_class = PlanForm
    has_preview = True
    when = {
        "stripe_subscription_id": GIVEN,
        "status": Subscription.LIVE,
        "cancel_at_period_end": False,
        "cancel_at": None,
        "stripe_schedule_id": None,
    }

    def nothing(self, row: Subscription) -> str:
        if row.stripe_schedule_id:
            return "A schedule manages the subscription: take back its planned changes first."
        return "The subscription is set to end: resume it first." if row.is_set_to_end else super().nothing(row)

    def effect(self, count: int) -> str:
        return (
            "Stripe says what the change comes to, and nothing is changed until that is confirmed. What is shown is"
            " charged then, within half an hour; an invoice that cannot be paid changes nothing."
        )

    def preview(self, rows: QuerySet[Any], form: Any) -> Preview:
        row = form.row
        found = plan_changes.preview(row, form.terms)
        limits = found.limits
        content = {
            "now": _shown(found.now, found.currency) if found.now else None,
            "next": _shown(found.next, found.currency),
            "next_at": found.next_at,
            "compared": [
                ("Plan", Tier(found.tier_before).label, Tier(found.tier_after).label),
                ("A month", *(money(cents, found.currency) for cents in (found.monthly_before, found.monthly_after))),
                ("Requests a month", *(number(limit, none="unlimited") for limit in (limits.before, limits.after))),
            ],
            "used": f"{limits.used:,}",
            "falls": f"The limit {_falls(limits)}." if limits.falls else "",
            "exceeded": f"The customer {_used(limits)}." if limits.is_exceeded else "",
        }
        signed = plan_changes.sign(row, form.terms, found.change)
        return Preview("billing/plan_preview.html", signed, content)

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: Any) -> str:
        row = rows.get()
        request = plan_changes.change_plan(
            row,
            form.change,
            actor=actor,
            reason=reason,
            token=form.token,
            over_limit=form.cleaned_data["over_limit"],
            keeps_month=form.cleaned_data["rest_of_month"] == KEEP,
        )
        when = "at the end of its period" if form.terms.when == plan_changes.PERIOD_END else "now"
        return told(f"Stripe changes the plan of {row.stripe_subscription_id} {when}.", request)


def _shown(bill: Bill, currency: str) -> dict[str, Any]:
    """An invoice in words: its lines, and what comes of their sum; what is nothing is left out."""
    between = [("Discount", bill.discount), ("Tax", bill.tax), ("Total", bill.total), ("Balance", bill.balance)]
    sums = [("Sum", bill.subtotal), *((name, cents) for name, cents in between if cents)]
    return {
        "lines": [(text, money(cents, currency)) for text, cents in bill.lines],
        "sums": [(name, money(cents, currency)) for name, cents in sums],
        "to_pay": money(bill.to_pay, currency),
    }


class TakeBackPlannedChanges(SubscriptionOperation):
    """The schedule that would change the subscription lets go of it."""

    name = "release_schedule"
    label = "Take back planned changes"
    permission = "billing.change_plan"
    icon = "event_busy"
    when = {"stripe_subscription_id": GIVEN, "status": Subscription.LIVE, "stripe_schedule_id": GIVEN}

    def describe(self, row: Subscription) -> str:
        return f"{row} of {row.user} · {row.stripe_schedule_id}"

    def effect(self, count: int) -> str:
        return "Stripe is asked to let the subscription go on as it is: what its schedule has planned does not happen."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        request = subscriptions.release_schedule(row, actor=actor, reason=reason, token=form.token)
        return told(f"Nothing is planned for {row.stripe_subscription_id} any more.", request)
