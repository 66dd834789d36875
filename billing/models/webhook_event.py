"""`stripe_webhook_events`, the inbox: filled by `billing.stripe.events.inbox`, leased by the database's functions."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import updated_at, uuid_key


class WebhookEvent(models.Model):
    """An event that Stripe sent, and how far we are with it."""

    class Status(ToneChoices):
        PENDING = "pending", Tone.INFO, "Pending"
        PROCESSING = "processing", Tone.INFO, "Processing"
        PROCESSED = "processed", Tone.SUCCESS, "Processed"
        FAILED = "failed", Tone.WARNING, "Failed"
        IGNORED = "ignored", Tone.NEUTRAL, "Ignored"
        DEAD = "dead", Tone.DANGER, "Dead"

    id = uuid_key()
    stripe_event_id = models.TextField("Stripe event", unique=True)
    event_type = models.TextField(db_default="unknown")
    api_version = models.TextField(null=True)
    livemode = models.BooleanField(db_default=False)
    payload = models.JSONField(db_default={})
    status = models.TextField(choices=Status.choices, db_default=Status.PENDING)
    attempts = models.IntegerField(db_default=0)
    last_error = models.TextField(null=True)
    waits_for = ArrayField(
        models.TextField(), null=True, help_text="What somebody has to bring: a Stripe customer, a price, an address."
    )
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
