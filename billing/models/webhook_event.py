from django.db import models
from django.db.models.functions import Now

from billing.models.fields import updated_at, uuid_key


class WebhookEvent(models.Model):
    """An event that Stripe sent, and how far we are with it."""

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        PROCESSING = "processing", "Processing"
        PROCESSED = "processed", "Processed"
        FAILED = "failed", "Failed"
        IGNORED = "ignored", "Ignored"
        DEAD = "dead", "Dead"

    id = uuid_key()
    stripe_event_id = models.TextField("Stripe event", unique=True)
    event_type = models.TextField(db_default="unknown")
    api_version = models.TextField(null=True)
    livemode = models.BooleanField(db_default=False)
    payload = models.JSONField(db_default={})
    status = models.TextField(choices=Status.choices, db_default=Status.PENDING)
    attempts = models.IntegerField(db_default=0)
    last_error = models.TextField(null=True)
    next_retry_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(db_default=Now())
    processing_started_at = models.DateTimeField(null=True)
    processed_at = models.DateTimeField(null=True)
    updated_at = updated_at()

    class Meta:
        db_table = "stripe_webhook_events"
        permissions = [
            ("retry_webhookevent", "Can retry failed webhook events"),
            ("replay_webhookevent", "Can process any webhook event again"),
        ]

    def __str__(self) -> str:
        return self.stripe_event_id
