"""The few tables of dj-stripe's mirror that support needs, read-only; the others have no page.

dj-stripe's own admins can change the mirror, search by fields that do not exist, and show the API key.
"""

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.utils.html import format_html

from billing.admin.stripe_links import stripe_id_column
from glyphforge.admin import ReadOnlyModelAdmin
from glyphforge.display import moment_column

MIRROR = "djstripe"


class MirrorAdmin(ReadOnlyModelAdmin):
    """An object of Stripe's as it was last fetched."""

    stripe = stripe_id_column("id", description="Stripe")
    created_at_stripe = moment_column("created", description="created")
    fetched = moment_column("djstripe_updated", description="fetched")
    list_filter = ("livemode",)
    sortable_by = ()
    ordering = ("-djstripe_id",)
    search_fields = ("id__exact",)
    search_help_text = "The object's id"
    fields = ("stripe", "livemode", "created_at_stripe", "fetched", "content")
    readonly_fields = ("stripe", "created_at_stripe", "fetched", "content")

    @admin.display(description="object")
    def content(self, obj: Any) -> str:
        return format_html('<pre class="gf-json" tabindex="0">{}</pre>', json.dumps(obj.stripe_data, indent=2))


class ProductAdmin(MirrorAdmin):
    list_display = ("name", "id", "active", "livemode", "fetched")


class PriceAdmin(MirrorAdmin):
    list_display = ("id", "product", "lookup_key", "currency", "active", "livemode", "fetched")
    list_select_related = ("product",)


class InvoiceAdmin(MirrorAdmin):
    list_display = ("id", "customer", "livemode", "fetched")
    list_select_related = ("customer",)


def _model(name: str) -> type[Model]:
    model: type[Model] = apps.get_model(MIRROR, name)
    return model


for _vendor in apps.get_app_config(MIRROR).get_models():
    if admin.site.is_registered(_vendor):
        admin.site.unregister(_vendor)
admin.site.register(_model("Product"), ProductAdmin)
admin.site.register(_model("Price"), PriceAdmin)
admin.site.register(_model("Invoice"), InvoiceAdmin)
