"""`upcoming_invoices`: written by `billing.services.upcoming`."""

from django.db import models
from django.db.models.functions import Now

from billing.models.subscription import Subscription


class UpcomingInvoice(models.Model):
    """What Stripe last said that a subscription is charged next, or why it could not say."""

    subscription = models.OneToOneField(
        Subscription, on_delete=models.CASCADE, primary_key=True, related_name="upcoming_invoice"
    )
    content = models.JSONField(null=True)
    told_at = models.DateTimeField(null=True, help_text="When Stripe said it.")
    problem = models.TextField(db_default="", help_text="Why it could not be asked the last time.")
    asked_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "upcoming_invoices"
        default_permissions = ()

    def __str__(self) -> str:
        return f"next of {self.subscription_id}"
