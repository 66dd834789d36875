"""The view on webhook events that need a person."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from billing.models import WebhookEvent


class FailedWebhookEvent(models.Model):
    """An event whose processing failed, waiting for its next attempt or given up."""

    stripe_event_id = models.TextField("Stripe event", primary_key=True)
    event_type = models.TextField()
    status = models.TextField(choices=WebhookEvent.Status.choices)
    attempts = models.IntegerField()
    last_error = models.TextField(null=True)
    next_retry_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()
    cause = models.TextField(help_text="The same for errors that differ in ids and numbers only.")
    waits_for = ArrayField(models.TextField(), null=True, help_text="What somebody has to bring.")

    class Meta:
        managed = False
        db_table = "v_failed_webhook_events"

    def __str__(self) -> str:
        return self.stripe_event_id
