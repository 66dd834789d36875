"""Customers and subscriptions that need somebody."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from billing.admin import tones
from billing.admin.customer_operations import FixOrphans
from glyphforge.display import badge_column, moment, number
from monitoring.admin.view import ViewAdmin, customer, linked, rendered
from monitoring.models import OrphanedStripeCustomer, PaidUserWithoutKey, StaleSubscription, UserNearLimit


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
    list_display = ("stripe_customer_id", "who", "created")
    ordering = ("created_at",)
    search_fields = ("email__istartswith", "stripe_customer_id__exact")
    search_help_text = "E-mail or Stripe customer"


@admin.register(StaleSubscription)
class StaleSubscriptionAdmin(ViewAdmin):
    """Subscriptions past their end; synchronising the customer with Stripe, on the customer's page, heals them."""

    who = customer()
    subscription_page = linked("subscription_id", "billing_subscription", description="subscription")
    tier_badge = badge_column("tier", tones.TIER, description="plan", ordering="tier")
    state = badge_column("status", tones.SUBSCRIPTION, description="status", ordering="status")
    ended = rendered("current_period_end", moment, description="period ended")
    list_display = ("days_overdue", "who", "tier_badge", "state", "ended", "subscription_page")
    list_filter = ("status", "tier")
    ordering = ("-days_overdue",)
    search_fields = ("email__istartswith", "stripe_subscription_id__exact")
    search_help_text = "E-mail or Stripe subscription"


@admin.register(PaidUserWithoutKey)
class PaidUserWithoutKeyAdmin(ViewAdmin):
    """Customers who pay and cannot call the API; a key is issued on the customer's page."""

    who = customer()
    tier_badge = badge_column("tier", tones.TIER, description="plan", ordering="tier")
    subscribed = rendered("subscribed_at", moment, description="subscribed")
    list_display = ("user_id", "who", "tier_badge", "subscribed")
    list_filter = ("tier",)
    ordering = ("subscribed_at",)
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"


@admin.register(UserNearLimit)
class UserNearLimitAdmin(ViewAdmin):
    """Customers who will be refused soon, or are already."""

    who = customer()
    tier_badge = badge_column("tier", tones.TIER, description="plan", ordering="tier")
    used = rendered("usage_count", number, description="used this month")
    limit = rendered("monthly_request_limit", number, description="limit")
    list_display = ("percent_used", "who", "tier_badge", "used", "limit")
    list_filter = ("tier",)
    ordering = ("-percent_used",)
    search_fields = ("email__istartswith",)
    search_help_text = "E-mail"
