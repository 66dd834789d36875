"""What staff may say about Stripe's prices."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.models import Tier
from billing.services import prices
from glyphforge.admin.operations import Operation, ReasonForm, counted
from glyphforge.money import money


def billing_period(cents: int | None, currency: str, interval: str, count: int) -> str:
    """A price as `29.00 USD a month` or `79.00 USD every 3 months`."""
    amount = "tiered" if cents is None else money(cents, currency)
    if not interval:
        return amount
    return f"{amount} a {interval}" if count == 1 else f"{amount} every {count} {interval}s"


class MapPriceForm(ReasonForm):
    """Which price sells which plan; the note stays beside the mapping, the reason goes into the audit log."""

    stripe_price_id = forms.CharField(
        label="Stripe price", max_length=255, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "price_…"})
    )
    tier = forms.ChoiceField(label="Plan", choices=Tier.choices, widget=UnfoldAdminSelectWidget)
    note = forms.CharField(required=False, max_length=200, widget=UnfoldAdminTextInputWidget)
    field_order = ["stripe_price_id", "tier", "note", "reason"]


class MapPrice(Operation):
    """A Stripe price is said to sell a plan."""

    name = "map_price"
    label = "Map price"
    permission = "billing.map_planprice"
    icon = "sell"
    on_one = False
    on_all = True
    makes_new = True
    form_class = MapPriceForm

    def effect(self, count: int) -> str:
        return (
            "Subscriptions to the price give the plan from now on: events that waited for it are processed again, and"
            " customers who have it are brought in line."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        said = form.cleaned_data
        mapped = prices.map_price(said["stripe_price_id"], said["tier"], actor=actor, reason=reason, note=said["note"])
        return (
            f"{said['stripe_price_id']} sells {Tier(said['tier']).label}: {counted(mapped.replayed, 'event')} tried"
            f" again, {counted(mapped.resynced, 'customer')} brought in line."
        )
