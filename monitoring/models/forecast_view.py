"""The views on what is to come."""

from django.db import models

from billing.models import Subscription, Tier
from glyphforge.choices import Tone, ToneChoices
from monitoring.models.customer_view import customer


class Renewal(models.Model):
    """A charge or a cancellation that comes of itself."""

    class Kind(ToneChoices):
        RENEWAL = "renewal", Tone.SUCCESS, "Renewal"
        TRIAL_END = "trial_end", Tone.INFO, "First charge after the trial"
        CANCELLATION = "cancellation", Tone.DANGER, "Cancellation"

    subscription = models.ForeignKey(Subscription, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    user = customer()
    email = models.TextField("e-mail", null=True)
    tier = models.TextField("plan", choices=Tier.choices)
    kind = models.TextField(choices=Kind.choices)
    due_at = models.DateTimeField("due")
    amount_cents = models.BigIntegerField("amount")
    currency = models.TextField()
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_renewals"
        verbose_name = "renewal or cancellation"
        verbose_name_plural = "renewals and cancellations"

    def __str__(self) -> str:
        return f"{self.email}, {self.due_at:%Y-%m-%d}"


class Forecast(models.Model):
    """One figure of the next 30 days."""

    class Figure(models.TextChoices):
        RENEWAL = "renewal", "Renewals"
        TRIAL_END = "trial_end", "First charges after a trial"
        CANCELLATION = "cancellation", "Booked cancellations (MRR)"
        REQUESTS = "requests", "API requests"

    figure = models.TextField(choices=Figure.choices)
    number = models.BigIntegerField(null=True)
    low = models.BigIntegerField("at least", null=True)
    high = models.BigIntegerField("at most", null=True)
    amount_cents = models.BigIntegerField("amount", null=True)
    currency = models.TextField(null=True)
    id = models.TextField(primary_key=True)

    class Meta:
        managed = False
        db_table = "v_forecast"
        verbose_name = "figure of the forecast"
        verbose_name_plural = "forecast"

    def __str__(self) -> str:
        return " ".join(filter(None, [self.get_figure_display(), (self.currency or "").upper()]))
