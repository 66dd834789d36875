"""`alerts`: moved on by `monitoring.alerts`, deleted by `cleanup_alerts()` 180 days after they resolved."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import uuid_key


class Alert(models.Model):
    """One episode of a check failing on an object; at most one is open per fingerprint."""

    class Severity(ToneChoices):
        """The worst first."""

        CRITICAL = "critical", Tone.DANGER, "Critical"
        WARNING = "warning", Tone.WARNING, "Warning"
        INFO = "info", Tone.INFO, "Info"

    class State(ToneChoices):
        PENDING = "pending", Tone.NEUTRAL, "Pending"
        FIRING = "firing", Tone.DANGER, "Firing"
        ACKNOWLEDGED = "acknowledged", Tone.INFO, "Acknowledged"
        SNOOZED = "snoozed", Tone.NEUTRAL, "Snoozed"
        RESOLVED = "resolved", Tone.SUCCESS, "Resolved"

    # What somebody may have to act on; a pending alert may yet prove to be nothing.
    OPEN = (State.FIRING, State.ACKNOWLEDGED, State.SNOOZED)

    id = uuid_key()
    fingerprint = models.TextField(help_text="The check and the object, never the value.")
    alert_type = models.TextField()
    subject = models.TextField()
    severity = models.TextField(choices=Severity.choices)
    state = models.TextField(choices=State.choices, db_default=State.PENDING)
    message = models.TextField(db_default="")
    remediation = models.TextField(db_default="")
    value = models.DecimalField(null=True, max_digits=40, decimal_places=6)
    evaluations_failing = models.IntegerField(db_default=1)
    evaluations_better = models.IntegerField(db_default=0, help_text="In a row; resets when it fails again.")
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    fired_at = models.DateTimeField(null=True)
    notified_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.TextField(null=True)
    snoozed_until = models.DateTimeField(null=True)
    snoozed_by = models.TextField(null=True)
    note = models.TextField(db_default="")
    resolved_at = models.DateTimeField(null=True)
    object_type = models.TextField(null=True, help_text="What kind of thing it is about; empty: the whole system.")
    object_id = models.TextField(null=True)
    objects_named = ArrayField(
        models.TextField(),
        db_column="objects",
        db_default=[],
        help_text="The ids of all that it is about, at most 1,000.",
    )
    consequences = ArrayField(models.TextField(), db_default=[], help_text="The checks that it mutes.")
    muted_by = models.TextField(null=True, help_text="The fingerprint of the alert that it follows from.")
    silenced_until = models.DateTimeField(null=True, help_text="The end of a maintenance window.")
    told_message = models.TextField(null=True, help_text="What the last message said.")

    class Meta:
        db_table = "alerts"
        permissions = [("acknowledge_alert", "Can acknowledge and snooze alerts")]

    def __str__(self) -> str:
        return f"{self.alert_type.replace('_', ' ').capitalize()}: {self.subject}"
