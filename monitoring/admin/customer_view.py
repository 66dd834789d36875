"""Customers and subscriptions that need somebody."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from billing.admin.customer_operations import FixOrphans
from billing.models import Subscription, Tier
from glyphforge.admin.columns import EMPTY, badge_column, moment, number, percent
from monitoring.admin.view import ViewAdmin, ViewChangeList, customer, rendered
from monitoring.models import OrphanedStripeCustomer, PaidUserWithoutKey, StaleSubscription, UserNearLimit
from monitoring.models.usage_forecast import usage_forecasts


class FixListedOrphans(FixOrphans):
    """The view lists exactly those whom the fix is for."""

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows


@admin.register(OrphanedStripeCustomer)
class OrphanedStripeCustomerAdmin(ViewAdmin):
    """Customers at Stripe without a live subscription here."""

    who = customer()
    created = rendered("created_at", moment, description="joined")
    fixes = (FixListedOrphans(),)
    nothing = "Every customer at Stripe has a live subscription here"
    list_display = ("stripe_customer_id", "who", "created")
    ordering = ("created_at",)
    search_fields = ("email__istartswith", "stripe_customer_id__exact")
    search_help_text = "E-mail or Stripe customer"


@admin.register(StaleSubscription)
class StaleSubscriptionAdmin(ViewAdmin):
    """Subscriptions past their end; a sync from Stripe, on the customer's page, repairs them."""

    who = customer()
    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    state = badge_column("status", Subscription.Status, description="status", ordering="status")
    ended = rendered("current_period_end", moment, description="period ended")
    overdue = rendered("days_overdue", lambda days: f"{days.normalize():f} days", description="overdue")
    list_display = ("overdue", "who", "tier_badge", "state", "ended", "subscription_page")
    list_filter = ("status", "tier")
    ordering = ("-days_overdue",)
    nothing = "No subscription is past its end"
    search_fields = ("email__istartswith", "stripe_subscription_id__exact")
    search_help_text = "E-mail or Stripe subscription"

    @admin.display(description="subscription", ordering="subscription_id")
    def subscription_page(self, obj: StaleSubscription) -> str:
        url = reverse("admin:billing_subscription_change", args=[obj.subscription_id])
        return format_html('<a class="gf-link" href="{}">Open</a>', url)


@admin.register(PaidUserWithoutKey)
class PaidUserWithoutKeyAdmin(ViewAdmin):
    """Customers who pay and cannot call the API; a key is issued on the customer's page."""

    who = customer()
    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    subscribed = rendered("subscribed_at", moment, description="subscribed")
    list_display = ("who", "tier_badge", "subscribed")
    list_display_links = None
    list_filter = ("tier",)
    ordering = ("subscribed_at",)
    nothing = "Every customer who pays has a key"
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"


class NearLimitChangeList(ViewChangeList):
    """Tells of the customers on the page what their month will come to."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        forecasts = usage_forecasts(row.user_id for row in self.result_list)
        for row in self.result_list:
            row.forecast = forecasts.get(row.user_id)


@admin.register(UserNearLimit)
class UserNearLimitAdmin(ViewAdmin):
    """Customers who will be refused soon, or are already."""

    who = customer()
    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    used = rendered("usage_count", number, description="requests this month")
    limit = rendered("monthly_request_limit", number, description="limit")
    share = rendered("percent_used", percent, description="used")
    list_display = ("share", "who", "tier_badge", "used", "limit", "outlook")
    list_filter = ("tier",)
    ordering = ("-percent_used",)
    nothing = "Nobody has used 80 % of their limit"
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[NearLimitChangeList]:
        return NearLimitChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> UserNearLimit | None:
        found: UserNearLimit | None = super().get_object(request, object_id, from_field)
        if found is not None:
            found.forecast = usage_forecasts([found.user_id]).get(found.user_id)
        return found

    @admin.display(description="outlook")
    def outlook(self, obj: UserNearLimit) -> str:
        return str(obj.forecast or EMPTY)
