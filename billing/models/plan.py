"""`plans`, filled with the four tiers by its SQL, and which Stripe prices sell them.

`plan_prices` is written by `billing.services.prices`, `stripe_catalogue` by `billing.stripe.tiers`.
"""

from django.db import models

from billing.models.tier import Sold, Tier
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
    """What a Stripe price, or each price of a product, is declared to sell; it wins over what they say themselves."""

    stripe_price_id = models.TextField(primary_key=True)
    tier = models.TextField("plan", choices=Sold.choices)
    note = models.TextField(db_default="", blank=True)
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "plan_prices"
        permissions = [("map_planprice", "Can say which plan a Stripe price sells")]
        ordering = ["tier", "stripe_price_id"]

    def __str__(self) -> str:
        return self.stripe_price_id


class CatalogueEntry(models.Model):
    """What a Stripe price or product says itself about the tier that it sells, as it was mirrored last."""

    stripe_id = models.TextField(primary_key=True)
    stripe_product_id = models.TextField(null=True)
    named_tier = models.TextField(choices=Sold.choices, null=True)
    updated_at = updated_at()

    class Meta:
        db_table = "stripe_catalogue"

    def __str__(self) -> str:
        return self.stripe_id
