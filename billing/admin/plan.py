"""The pages of plans and of the Stripe prices that sell them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from billing.admin.price_operations import MapPrice, UnmapPrice, billing_period
from billing.admin.stripe_links import stripe_id, stripe_id_column
from billing.models import Plan, PlanPrice, Sold
from billing.services import prices
from glyphforge.admin.columns import badge_column, choice_badge, column, copyable_column, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin
from glyphforge.money import money


@admin.register(Plan)
class PlanAdmin(ReadOnlyModelAdmin):
    """What each plan allows and costs by default."""

    limit = column(
        "monthly_request_limit", lambda limit: number(limit, none="unlimited"), description="requests a month"
    )
    rate = column("rate_limit_per_minute", number, description="requests a minute")
    price = column("price_cents", lambda cents: money(cents) if cents is not None else "agreed", description="a month")
    updated = moment_column("updated_at", description="updated")

    list_display = ("name", "limit", "rate", "price", "updated")
    sortable_by = ()
    fieldsets = ((None, {"fields": ("name", "tier", "limit", "rate", "price", "updated")}),)
    readonly_fields = ("limit", "rate", "price", "updated")


@admin.register(PlanPrice)
class PlanPriceAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Which plan each Stripe price sells, and above that the prices that none claims or somebody is subscribed to."""

    operations = (MapPrice(), UnmapPrice())
    list_before_template = "billing/prices/list.html"
    nothing = "No price is mapped by hand: metadata or lookup keys name the plan of each"
    price = copyable_column("stripe_price_id", description="Stripe price or product")
    stripe_price = stripe_id_column("stripe_price_id", description="Stripe price or product")
    tier = badge_column("tier", Sold, description="plan")
    updated = moment_column("updated_at", description="updated")

    list_display = ("stripe_price_id", "tier", "note", "updated")
    list_filter = ("tier",)
    sortable_by = ()
    search_fields = ("stripe_price_id__exact",)
    search_help_text = "A Stripe price or product"
    fieldsets = ((None, {"fields": ("stripe_price", "tier", "note", "updated")}),)
    readonly_fields = ("stripe_price", "tier", "updated")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        listed = prices.listed()
        context = {
            "unclaimed": [_shown(price) for price in listed.unclaimed],
            "unclaimed_at_most": prices.AT_MOST,
            "subscribed": [_shown(price) for price in listed.subscribed],
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})


def _shown(price: prices.ListedPrice) -> dict[str, Any]:
    return {
        "price": price,
        "stripe": stripe_id(price.stripe_price_id),
        "product": stripe_id(price.product_id),
        "amount": billing_period(price.amount_cents, price.currency, price.interval, price.interval_count),
        "sells": choice_badge(Sold(price.sells)) if price.sells else None,
        "kept": [choice_badge(Sold(tier)) for tier in price.kept],
    }
