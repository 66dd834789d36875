"""What staff may say about Stripe's prices."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing.models import Sold
from billing.services import prices
from glyphforge.admin.operations import Operation, ReasonForm, counted
from glyphforge.money import money


def billing_period(cents: int | None, currency: str, interval: str, count: int) -> str:
    """A price as `29.00 USD a month` or `79.00 USD every 3 months`; empty for one without a currency."""
    if not currency:
        return ""
    amount = "tiered" if cents is None else money(cents, currency)
    if not interval:
        return amount
    return f"{amount} a {interval}" if count == 1 else f"{amount} every {count} {interval}s"


class MapPriceForm(ReasonForm):
    """Which price sells which plan; the note stays beside the mapping, the reason goes into the audit log."""

    stripe_price_id = forms.CharField(
        label="Stripe price or product",
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "price_… or prod_…"}),
        help_text="What is said of a product holds for each of its prices of which nothing else is said here.",
    )
    tier = forms.ChoiceField(
        label="Plan",
        choices=Sold.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="Not ours is what another business sells on the same Stripe account: nothing comes of it here.",
    )
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
    can_rehearse = True

    def effect(self, count: int) -> str:
        return (
            "Subscriptions to the price give the plan from now on: events that waited for it are processed again, and"
            " customers who have it are brought in line. Of what is not ours the rows go: subscriptions, their"
            " payments, and customers who have nothing else."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        said = form.cleaned_data
        mapped = prices.map_price(said["stripe_price_id"], said["tier"], actor=actor, reason=reason, note=said["note"])
        sold = Sold(said["tier"])
        is_now = "is not ours" if sold is Sold.FOREIGN else f"sells {sold.label}"
        return f"{said['stripe_price_id']} {is_now}: {_followed(mapped)}"


class UnmapPrice(Operation):
    """What was said of a price or product is taken back."""

    name = "unmap_price"
    label = "Remove"
    permission = "billing.map_planprice"
    icon = "remove"
    danger = True
    can_rehearse = True

    def effect(self, count: int) -> str:
        return (
            "What the price says itself counts again, by its metadata or lookup key. Where it says nothing, who has it"
            " keeps the plan, and new subscriptions wait until it is mapped."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        price_id = rows.get().pk
        unmapped = prices.unmap_price(price_id, actor=actor, reason=reason)
        return f"{price_id} is mapped no more: {_followed(unmapped)}"

    def respond(self, request: HttpRequest, form: ReasonForm, back: str) -> HttpResponseBase:
        return HttpResponseRedirect(reverse("admin:billing_planprice_changelist"))


def _followed(mapped: prices.Mapped) -> str:
    return f"{counted(mapped.replayed, 'event')} tried again, {counted(mapped.resynced, 'customer')} brought in line."
