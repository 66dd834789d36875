"""The few tables of dj-stripe's mirror that support needs, read-only; the others have no page.

dj-stripe's own admins can change the mirror, search by fields that do not exist, and show the API key.
"""

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.price_operations import billing_period
from billing.admin.stripe_links import stripe_id_column
from billing.services import search
from billing.stripe import lookup
from glyphforge.admin.columns import EMPTY, badge, figure, moment_column, preformatted
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.choices import Tone
from glyphforge.money import money

MIRROR = "djstripe"
# https://docs.stripe.com/invoicing/overview#invoice-statuses
INVOICE = {"paid": Tone.SUCCESS, "open": Tone.WARNING, "uncollectible": Tone.DANGER}


def invoice_badge(invoice: Any) -> SafeString:
    """The status of an invoice of Stripe's as a badge; one without a status is a draft."""
    status = invoice.get("status") or "draft"
    return badge(status.capitalize(), INVOICE.get(status, Tone.NEUTRAL))


class MirrorAdmin(ReadOnlyModelAdmin):
    """An object of Stripe's as it was last fetched."""

    stripe = stripe_id_column("id", description="Stripe")
    created_at_stripe = moment_column("created", description="created")
    fetched = moment_column("djstripe_updated", description="fetched")
    sortable_by = ()
    ordering = ("-djstripe_id",)
    search_fields = ("id__exact",)
    search_help_text = "The object's id"
    fields = ("stripe", "mode", "created_at_stripe", "fetched", "content")
    readonly_fields = ("stripe", "mode", "created_at_stripe", "fetched", "content")

    @admin.display(description="mode")
    def mode(self, obj: Any) -> SafeString:
        return badge("Live", Tone.SUCCESS) if obj.livemode else badge("Test", Tone.NEUTRAL)

    @admin.display(description="object")
    def content(self, obj: Any) -> str:
        return preformatted(json.dumps(obj.stripe_data, indent=2))


class ProductAdmin(MirrorAdmin):
    """Products as they were last fetched; archived ones are not sold any more."""

    list_display: tuple[str, ...] = ("name", "id", "state", "mode", "fetched")

    @admin.display(description="state")
    def state(self, obj: Any) -> SafeString:
        return badge("Active", Tone.SUCCESS) if obj.active else badge("Archived")


class PriceAdmin(ProductAdmin):
    """Prices as they were last fetched, with the period that the amount is for."""

    list_display = ("id", "product", "amount", "lookup_key", "state", "mode", "fetched")
    list_select_related = ("product",)

    @admin.display(description="price")
    def amount(self, obj: Any) -> str:
        recurring = obj.recurring or {}
        cents, count = obj.stripe_data.get("unit_amount"), int(recurring.get("interval_count") or 1)
        return figure(billing_period(cents, obj.currency, recurring.get("interval", ""), count))


class InvoiceAdmin(MirrorAdmin):
    """Invoices as they were last fetched; an invoice without a status counts as a draft."""

    list_display = ("id", "number", "customer", "total", "state", "mode", "created_at_stripe")
    list_select_related = ("customer",)
    search_help_text = "The invoice's number or id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search.cleaned(search_term)
        if term.startswith("in_"):
            return queryset.filter(search.starting("id", term)), False
        return (lookup.with_number(queryset, term) if term else queryset), False

    @admin.display(description="number")
    def number(self, obj: Any) -> str:
        return obj.stripe_data.get("number") or EMPTY

    @admin.display(description="total")
    def total(self, obj: Any) -> str:
        return figure(money(obj.stripe_data.get("total"), obj.stripe_data.get("currency")))

    @admin.display(description="status")
    def state(self, obj: Any) -> SafeString:
        return invoice_badge(obj.stripe_data)


def _model(name: str) -> type[Model]:
    model: type[Model] = apps.get_model(MIRROR, name)
    return model


for _vendor in apps.get_app_config(MIRROR).get_models():
    if admin.site.is_registered(_vendor):
        admin.site.unregister(_vendor)
admin.site.register(_model("Product"), ProductAdmin)
admin.site.register(_model("Price"), PriceAdmin)
admin.site.register(_model("Invoice"), InvoiceAdmin)
