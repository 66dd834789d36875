"""`plans`, filled with the four tiers by its SQL, and `plan_prices`, written by `billing.services.prices`."""

from django.db import models

from billing.models.tier import Tier
from glyphforge.rows import created_at, updated_at


class Plan(models.Model):
    """What a tier allows and costs by default."""

    tier = models.TextField("plan", primary_key=True, choices=Tier.choices)
    name = models.TextField()
    monthly_request_limit = models.BigIntegerField(
        null=True, blank=True, help_text="Requests a month; empty is unlimited."
    )
    rate_limit_per_minute = models.IntegerField(help_text="Requests a minute and key.")
    price_cents = models.IntegerField(
        null=True, blank=True, help_text="List price a month in US cents; empty is agreed with each customer."
    )
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "plans"
        ordering = ["price_cents", "tier"]

    def __str__(self) -> str:
        return self.name


class PlanPrice(models.Model):
    """Which tier a Stripe price sells; support edits this where the price's own metadata does not say."""

    stripe_price_id = models.TextField(primary_key=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, db_column="tier", related_name="prices")
    note = models.TextField(db_default="", blank=True)
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "plan_prices"
        permissions = [("map_planprice", "Can say which plan a Stripe price sells")]
        ordering = ["plan", "stripe_price_id"]

    def __str__(self) -> str:
        return self.stripe_price_id
