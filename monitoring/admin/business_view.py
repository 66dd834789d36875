"""Revenue, subscriptions and growth."""

from django.contrib import admin

from billing.models import Subscription, Tier
from glyphforge.admin.columns import badge_column, money_column, number, percent
from monitoring.admin.view import ViewAdmin, rendered
from monitoring.models import RevenueMetrics, SubscriptionBreakdown, UserGrowth


@admin.register(RevenueMetrics)
class RevenueMetricsAdmin(ViewAdmin):
    """This month in one row."""

    mrr = money_column("mrr_cents", description="MRR")
    arr = money_column("arr_cents", description="ARR")
    arpu = money_column("arpu_cents", description="ARPU")
    this_month = money_column("revenue_this_month_cents", description="paid this month")
    last_month = money_column("revenue_last_month_cents", description="paid last month")
    refunded = money_column("refunded_this_month_cents", description="refunded")
    disputed = money_column("disputed_this_month_cents", description="disputed")
    paying = rendered("paying_customers", number, description="paying customers")
    failed = rendered("failed_payments_this_month", number, description="failed payments")
    elsewhere = rendered("customers_in_other_currencies", number, description="in other currencies")
    list_display = (
        "mrr",
        "arr",
        "arpu",
        "paying",
        "this_month",
        "last_month",
        "refunded",
        "disputed",
        "failed",
        "elsewhere",
    )


@admin.register(SubscriptionBreakdown)
class SubscriptionBreakdownAdmin(ViewAdmin):
    """Subscriptions by plan, status and currency."""

    tier_badge = badge_column("tier", Tier, description="plan", ordering="tier")
    state = badge_column("status", Subscription.Status, description="status", ordering="status")
    count = rendered("subscriptions", number, description="subscriptions")
    mrr = money_column("mrr_cents", description="MRR", ordering="mrr_cents")
    list_display = ("tier_badge", "state", "count", "mrr")
    list_filter = ("tier", "status", "currency")
    ordering = ("-mrr_cents", "-subscriptions")


@admin.register(UserGrowth)
class UserGrowthAdmin(ViewAdmin):
    """Customers by the month they joined in."""

    new = rendered("new_users", number, description="new")
    total = rendered("total_users", number, description="total")
    joined = rendered("month", lambda month: f"{month:%Y-%m}", description="month")
    growth = rendered("growth_percent", percent, description="growth")
    list_display = ("joined", "new", "total", "growth")
    ordering = ("-month",)
