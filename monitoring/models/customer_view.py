"""The views on customers and what is wrong with them."""

from typing import Any

from django.db import models

from billing.customer_panels import UsageForecast
from billing.models import Subscription, Tier, User


def customer(**options: Any) -> Any:
    """A view's user_id. Usage is counted without foreign keys, so the customer may be missing."""
    kind = models.OneToOneField if options.get("primary_key") else models.ForeignKey
    return kind(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", **options
    )


class OrphanedStripeCustomer(models.Model):
    """A Stripe customer here without a live subscription."""

    user = customer(primary_key=True)
    email = models.TextField("e-mail", null=True)
    stripe_customer_id = models.TextField("Stripe customer")
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "v_orphaned_stripe_customers"
        verbose_name = "orphaned Stripe customer"

    def __str__(self) -> str:
        return self.stripe_customer_id


class StaleSubscription(models.Model):
    """A subscription that is active or trialing past the end of its period."""

    subscription = models.OneToOneField(
        Subscription, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", primary_key=True
    )
    user = customer()
    email = models.TextField("e-mail", null=True)
    tier = models.TextField("plan", choices=Tier.choices)
    status = models.TextField(choices=Subscription.Status.choices)
    current_period_end = models.DateTimeField()
    days_overdue = models.DecimalField(max_digits=12, decimal_places=2)
    stripe_subscription_id = models.TextField("Stripe subscription", null=True)

    class Meta:
        managed = False
        db_table = "v_stale_subscriptions"

    def __str__(self) -> str:
        return f"{self.email}, {self.days_overdue} days overdue"


class PaidUserWithoutKey(models.Model):
    """A customer who pays and has no API key that works."""

    user = customer(primary_key=True)
    email = models.TextField("e-mail", null=True)
    tier = models.TextField("plan", choices=Tier.choices)
    subscribed_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "v_paid_users_without_keys"
        verbose_name = "paying customer without API key"
        verbose_name_plural = "paying customers without API key"

    def __str__(self) -> str:
        return str(self.email)


class UserNearLimit(models.Model):
    """A customer who used 80 % or more of this month's limit."""

    user = customer(primary_key=True)
    email = models.TextField("e-mail", null=True)
    tier = models.TextField("plan", choices=Tier.choices)
    usage_count = models.BigIntegerField()
    monthly_request_limit = models.BigIntegerField()
    percent_used = models.DecimalField(max_digits=20, decimal_places=2)
    # What the month will come to, where a page has asked.
    forecast: UsageForecast | None = None

    class Meta:
        managed = False
        db_table = "v_users_near_limit"
        verbose_name = "customer near the limit"
        verbose_name_plural = "customers near their limit"

    def __str__(self) -> str:
        return f"{self.email}, {self.percent_used} %"
