"""The views on who stays: cohorts, what is left of the revenue, and what a customer is worth."""

from typing import Any

from django.db import models

from billing.models import Tier
from monitoring.models.customer_view import customer

TIERS = [("all", "All plans"), *Tier.choices]


class Retention(models.Model):
    """What is left of the customers of one cohort and currency at the end of one month."""

    cohort = models.DateField(null=True, help_text="Month of the first payment; none while it has not come.")
    age_months = models.IntegerField("months since", null=True)
    customers = models.BigIntegerField()
    mrr_cents = models.BigIntegerField("MRR")
    currency = models.TextField()
    month = models.DateField()
    cohort_customers = models.BigIntegerField("size of the cohort", null=True)
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_retention"
        verbose_name = "month of a cohort"
        verbose_name_plural = "retention"

    def __str__(self) -> str:
        return f"{name_of(self.cohort)}, {self.month:%Y-%m}"


class RetentionCustomer(models.Model):
    """A customer's MRR at the end of one month, with the cohort."""

    user = customer()
    email = models.TextField("e-mail", null=True)
    cohort = models.DateField(null=True)
    age_months = models.IntegerField("months since", null=True)
    mrr_cents = models.BigIntegerField("MRR")
    currency = models.TextField()
    month = models.DateField()
    is_paying = models.BooleanField("paying")
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_retention_customers"
        verbose_name = "customer of a cohort"
        verbose_name_plural = "customers of cohorts"

    def __str__(self) -> str:
        return f"{self.email}, {self.month:%Y-%m}"


class MrrRetention(models.Model):
    """Where the recurring revenue of a month went and came from, of one plan or of all."""

    month = models.DateField()
    currency = models.TextField()
    tier = models.TextField("plan", choices=TIERS)
    customers_at_start = models.BigIntegerField()
    customers_lost = models.BigIntegerField()
    customers_gained = models.BigIntegerField()
    start_cents = models.BigIntegerField("MRR at the start")
    new_cents = models.BigIntegerField("new")
    reactivation_cents = models.BigIntegerField("reactivation")
    expansion_cents = models.BigIntegerField("expansion")
    contraction_cents = models.BigIntegerField("contraction")
    churn_cents = models.BigIntegerField("churn")
    end_cents = models.BigIntegerField("MRR at the end")
    nrr_percent = models.DecimalField("net retention", max_digits=30, decimal_places=2, null=True)
    grr_percent = models.DecimalField("gross retention", max_digits=30, decimal_places=2, null=True)
    quick_ratio = models.DecimalField(max_digits=30, decimal_places=2, null=True)
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_mrr_retention"
        verbose_name = "month of revenue"
        verbose_name_plural = "revenue retention"

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}, {dict(TIERS).get(self.tier, self.tier)}, {self.currency.upper()}"


class LifetimeValue(models.Model):
    """What a customer of one plan, or of all, is worth: expected, with a 95 % interval, and as realised."""

    currency = models.TextField()
    tier = models.TextField("plan", choices=TIERS)
    customer_months = models.BigIntegerField()
    customers_lost = models.BigIntegerField()
    arpu_cents = models.BigIntegerField("ARPU", null=True)
    churn_percent = models.DecimalField("churn a month", max_digits=30, decimal_places=2, null=True)
    ltv_cents = models.BigIntegerField("lifetime value", null=True)
    ltv_low_cents = models.BigIntegerField("at least", null=True)
    ltv_high_cents = models.BigIntegerField("at most", null=True)
    realised_customers = models.BigIntegerField("customers who paid")
    realised_cents = models.BigIntegerField("came in from one", null=True)
    left_customers = models.BigIntegerField("of them left")
    left_realised_cents = models.BigIntegerField("came in from one who left", null=True)
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_lifetime_value"
        verbose_name = "lifetime value"
        verbose_name_plural = "lifetime value"

    def __str__(self) -> str:
        return f"{dict(TIERS).get(self.tier, self.tier)}, {self.currency.upper()}"


def name_of(cohort: Any) -> str:
    """A cohort as people say it: its month, or that its first payment has not come."""
    return f"{cohort:%Y-%m}" if cohort else "Not paid yet"
