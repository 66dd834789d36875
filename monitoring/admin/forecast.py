"""What is to come: the figures of the next 30 days, and the renewals and cancellations behind them."""

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from billing.models import Tier
from glyphforge.admin.columns import badge_column, moment, money_column, number
from monitoring.admin.view import ViewAdmin, customer, rendered
from monitoring.models import Forecast, Renewal


@admin.register(Forecast)
class ForecastAdmin(ViewAdmin):
    """A row a figure; those of money lead to the rows that they are made of."""

    how_many = rendered("number", number, description="number")
    at_least = rendered("low", number, description="at least (80 %)")
    at_most = rendered("high", number, description="at most (80 %)")
    amount = money_column("amount_cents", description="amount", ordering="amount_cents")
    list_display = ("name", "how_many", "at_least", "at_most", "amount")
    list_display_links = None
    ordering = ("figure", "-amount_cents")

    @admin.display(description="next 30 days", ordering="figure")
    def name(self, obj: Forecast) -> str:
        label = dict(Forecast.Figure.choices).get(obj.figure, obj.figure)
        if obj.figure == Forecast.Figure.REQUESTS:
            address = reverse("admin:monitoring_apiusageday_changelist")
        else:
            asked = {"kind__exact": obj.figure, "currency__exact": obj.currency}
            address = reverse("admin:monitoring_renewal_changelist", query=asked)
        return format_html('<a class="gf-link" href="{}">{}</a>', address, label)


@admin.register(Renewal)
class RenewalAdmin(ViewAdmin):
    """Charges and cancellations that come of themselves, the next first."""

    badge = badge_column("kind", Renewal.Kind, description="what", ordering="kind")
    who = customer()
    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    due = rendered("due_at", moment, description="due")
    amount = money_column("amount_cents", description="amount", ordering="amount_cents")
    list_display = ("due", "badge", "amount", "who", "tier_badge", "subscription_page")
    list_display_links = None
    list_filter = ("kind", "tier", "currency")
    ordering = ("due_at", "id")
    nothing = "Nothing renews or ends in the next 30 days"
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"

    @admin.display(description="subscription", ordering="subscription_id")
    def subscription_page(self, obj: Renewal) -> str:
        address = reverse("admin:billing_subscription_change", args=[obj.subscription_id])
        return format_html('<a class="gf-link" href="{}">Open</a>', address)
