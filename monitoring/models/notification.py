"""`notifications`: queued by alerts and the daily report, delivered by `monitoring.notifications.outbox`."""

from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from monitoring.models.alert import Alert


class Notification(models.Model):
    """A message that has to reach a channel; kept until it did."""

    class Channel(models.TextChoices):
        SLACK = "slack", "Slack"
        EMAIL = "email", "E-mail"

    class Kind(models.TextChoices):
        OPENED = "opened", "Opened"
        ESCALATED = "escalated", "Escalated"
        REMINDER = "reminder", "Reminder"
        RESOLVED = "resolved", "Resolved"
        REPORT = "report", "Daily report"

    class Status(ToneChoices):
        PENDING = "pending", Tone.INFO, "Pending"
        SENT = "sent", Tone.SUCCESS, "Sent"
        DEAD = "dead", Tone.DANGER, "Given up"

    id = models.BigAutoField(primary_key=True)
    channel = models.TextField(choices=Channel.choices)
    kind = models.TextField(choices=Kind.choices)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, null=True, related_name="notifications")
    report_on = models.DateField(null=True, help_text="The day that a daily report is about.")
    severity = models.TextField(choices=Alert.Severity.choices, help_text="At the time of the change.")
    message = models.TextField(db_default="", help_text="At the time of the change.")
    status = models.TextField(choices=Status.choices, db_default=Status.PENDING)
    attempts = models.IntegerField(db_default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    last_error = models.TextField(null=True)
    delivery_id = models.UUIDField(null=True, help_text="Shared by what went out together as one summary.")
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "notifications"
        permissions = [("send_test_notification", "Can send a test message")]

    def __str__(self) -> str:
        return f"{self.get_channel_display()}: {self.get_kind_display()}"

    @property
    def said(self) -> str:
        """What was seen at the time, without the subject that a title names."""
        return self.message.removeprefix(f"{self.alert.subject}: ") if self.alert else self.message
