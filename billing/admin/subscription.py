"""The pages of subscriptions, and what Stripe is asked to change of them."""

from django.contrib import admin

from billing.admin import exports
from billing.admin.customer_link import SearchByCustomerMixin, customer_column
from billing.admin.plan_operations import ChangePlan, TakeBackPlannedChanges
from billing.admin.stripe_links import stripe_id_column
from billing.admin.subscription_operations import (
    ApplyCoupon,
    CancelSubscription,
    ExtendTrial,
    PauseCollection,
    RemoveCoupon,
    ResumeCollection,
    ResumeSubscription,
)
from billing.models import Subscription, Tier
from glyphforge.admin.columns import badge_column, copyable_column, moment_column, money_column, number, yes_no_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import OperationsMixin


@admin.register(Subscription)
class SubscriptionAdmin(OperationsMixin, SearchByCustomerMixin, ReadOnlyModelAdmin):
    """Subscriptions, as Stripe has them."""

    operations = (
        ChangePlan(),
        TakeBackPlannedChanges(),
        ExtendTrial(),
        ApplyCoupon(),
        RemoveCoupon(),
        PauseCollection(),
        ResumeCollection(),
        ResumeSubscription(),
        CancelSubscription(),
        exports.OF_CUSTOMERS,
    )
    customer = customer_column()
    plan = badge_column("tier", Tier, description="plan")
    state = badge_column("status", Subscription.Status, description="status")
    price = money_column("price_cents", description="a month")
    stripe_subscription = stripe_id_column("stripe_subscription_id", description="Stripe subscription")
    stripe_price = stripe_id_column("stripe_price_id", description="Stripe price")
    duplicate = yes_no_column("is_duplicate", description="a second one at Stripe")
    ends = moment_column("cancel_at", description="ends")
    collection = badge_column("collection_paused", Subscription.CollectionPaused, description="collection paused")
    collection_resumes = moment_column("collection_resumes_at", description="collection resumes")
    schedule = stripe_id_column("stripe_schedule_id", description="managed by a schedule")
    ends_with_period = yes_no_column("cancel_at_period_end", description="ends with its period")
    row_id = copyable_column("id", description="id")
    period_start = moment_column("current_period_start", description="period began")
    period_end = moment_column("current_period_end", description="period ends")
    trial_ends = moment_column("trial_end", description="trial ends")
    canceled = moment_column("canceled_at", description="canceled")
    created = moment_column("created_at", description="created", ordering="created_at")
    updated = moment_column("updated_at", description="updated")
    counted = moment_column("usage_synced_at", description="usage counted")

    list_display = ("plan", "customer", "state", "price", "usage", "period_end", "created")
    list_filter = ("status", "tier", "is_duplicate")
    linked_by = ("user__id__exact",)
    list_select_related = ("user", "entitlement")
    sortable_by = ("created",)
    ordering = ("-created_at",)
    own_ids = ("stripe_subscription_id",)
    search_help_text = "Customer's e-mail or a Stripe subscription"
    fieldsets = (
        (None, {"fields": ("customer", "plan", "state", "price", "quantity", "interval", "duplicate")}),
        ("Period", {"fields": ("period_start", "period_end", "trial_ends", "ends", "ends_with_period", "canceled")}),
        ("At Stripe", {"fields": ("collection", "collection_resumes", "schedule")}),
        ("Entitlement", {"fields": ("usage", "counted")}),
        ("Ids", {"fields": ("stripe_subscription", "stripe_price", "row_id", "created", "updated")}),
    )
    readonly_fields = (
        "duplicate",
        "ends",
        "ends_with_period",
        "collection",
        "collection_resumes",
        "schedule",
        "customer",
        "plan",
        "state",
        "price",
        "period_start",
        "period_end",
        "trial_ends",
        "canceled",
        "usage",
        "counted",
        "stripe_subscription",
        "stripe_price",
        "row_id",
        "created",
        "updated",
    )

    @admin.display(description="used this month")
    def usage(self, obj: Subscription) -> str:
        return f"{number(obj.usage_count)} of {number(obj.limit, none='unlimited')}"
