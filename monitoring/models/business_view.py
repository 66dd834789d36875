"""The views on revenue, subscriptions and growth."""

from django.db import models

from billing.models import Subscription, Tier
from glyphforge.money import money


class SubscriptionBreakdown(models.Model):
    """Subscriptions of one tier, status and currency."""

    tier = models.TextField("plan", choices=Tier.choices)
    status = models.TextField(choices=Subscription.Status.choices)
    subscriptions = models.BigIntegerField()
    mrr_cents = models.BigIntegerField("MRR")
    currency = models.TextField()
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_subscription_breakdown"
        verbose_name = "subscriptions by plan and status"
        verbose_name_plural = "subscriptions by plan and status"

    def __str__(self) -> str:
        return f"{self.tier} {self.status}: {self.subscriptions}"


class RevenueMetrics(models.Model):
    """The business figures of this month, in one row."""

    mrr_cents = models.BigIntegerField("MRR")
    arr_cents = models.BigIntegerField("ARR")
    arpu_cents = models.BigIntegerField("ARPU")
    paying_customers = models.BigIntegerField()
    revenue_this_month_cents = models.BigIntegerField("revenue this month")
    revenue_last_month_cents = models.BigIntegerField("revenue last month")
    refunded_this_month_cents = models.BigIntegerField("refunded this month")
    failed_payments_this_month = models.BigIntegerField()
    currency = models.TextField(primary_key=True)
    customers_in_other_currencies = models.BigIntegerField()
    disputed_this_month_cents = models.BigIntegerField("disputed this month")

    class Meta:
        managed = False
        db_table = "v_revenue_metrics"
        verbose_name = "revenue metrics"
        verbose_name_plural = "revenue metrics"

    def __str__(self) -> str:
        return f"MRR {money(self.mrr_cents, self.currency)}"


class UserGrowth(models.Model):
    """Customers who joined in one calendar month."""

    month = models.DateField(primary_key=True)
    new_users = models.BigIntegerField("new customers")
    total_users = models.BigIntegerField("customers")
    growth_percent = models.DecimalField(max_digits=20, decimal_places=2, null=True)

    class Meta:
        managed = False
        db_table = "v_user_growth"
        verbose_name = "month of growth"
        verbose_name_plural = "customer growth"

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}: {self.new_users} new"
