"""`daily_mrr`: written by `take_daily_snapshot()` from the movements, one row a day, currency and tier."""

from django.db import models

from billing.models import Tier
from glyphforge.money import money


class DailyMrr(models.Model):
    """A day's recurring revenue by tier; the database holds that start plus movements is the end."""

    pk = models.CompositePrimaryKey("day", "currency", "tier")
    day = models.DateField()
    currency = models.TextField()
    tier = models.TextField("plan", choices=Tier.choices)
    start_cents = models.BigIntegerField()
    new_cents = models.BigIntegerField()
    expansion_cents = models.BigIntegerField()
    contraction_cents = models.BigIntegerField()
    churn_cents = models.BigIntegerField()
    reactivation_cents = models.BigIntegerField()
    transfer_cents = models.BigIntegerField(help_text="What came from other plans or went there; no revenue.")
    end_cents = models.BigIntegerField()
    customers = models.BigIntegerField()

    class Meta:
        db_table = "daily_mrr"
        verbose_name = "day of MRR"
        verbose_name_plural = "days of MRR"

    def __str__(self) -> str:
        return f"{self.day} {self.tier} {money(self.end_cents, self.currency)}"
