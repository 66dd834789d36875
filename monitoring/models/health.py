"""`health_checks`, which operators edit, and the views that measure them: `v_system_health` and the two of alerts."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from monitoring.models.alert import Alert


class HealthCheck(models.Model):
    """What the system's health is made of, and from where on it warns; operators change the thresholds."""

    check_name = models.TextField("check", primary_key=True)
    title = models.TextField()
    unit = models.TextField()
    lower_is_worse = models.BooleanField(db_default=False)
    warning_at = models.DecimalField(
        "warning beyond", max_digits=20, decimal_places=2, null=True, blank=True, help_text="Empty never warns."
    )
    critical_at = models.DecimalField(
        "critical beyond",
        max_digits=20,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="Empty is never critical. Must be at least as bad as the warning.",
    )
    is_enabled = models.BooleanField(
        "enabled", db_default=True, help_text="A disabled check is not measured and raises no alert."
    )
    remediation = models.TextField()
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "health_checks"

    def __str__(self) -> str:
        return self.title


class SystemHealth(models.Model):
    """A check as it stands now."""

    class Status(ToneChoices):
        OK = "ok", Tone.SUCCESS, "OK"
        WARNING = "warning", Tone.WARNING, "Warning"
        CRITICAL = "critical", Tone.DANGER, "Critical"
        UNKNOWN = "unknown", Tone.NEUTRAL, "Unknown"

    check_name = models.TextField("check", primary_key=True)
    status = models.TextField(choices=Status.choices)
    value = models.DecimalField(max_digits=30, decimal_places=2, null=True)
    warning_at = models.DecimalField("warning beyond", max_digits=20, decimal_places=2, null=True)
    critical_at = models.DecimalField("critical beyond", max_digits=20, decimal_places=2, null=True)
    message = models.TextField(null=True)
    remediation = models.TextField()
    title = models.TextField()
    unit = models.TextField()
    lower_is_worse = models.BooleanField()
    not_measured = models.BooleanField()

    class Meta:
        managed = False
        db_table = "v_system_health"
        verbose_name = "system health"
        verbose_name_plural = "system health"
        permissions = [("export_views", "Can export monitoring pages")]

    def __str__(self) -> str:
        return self.title


class CurrentAlertColumns(models.Model):
    """What the two views of alerts have in common: what is wrong now, without history."""

    fingerprint = models.TextField(primary_key=True)
    severity = models.TextField(choices=Alert.Severity.choices)
    alert_type = models.TextField("check")
    subject = models.TextField()
    message = models.TextField(null=True)
    remediation = models.TextField()
    value = models.DecimalField(max_digits=30, decimal_places=2, null=True)
    detected_at = models.DateTimeField("since")
    object_type = models.TextField(help_text="user, subscription, webhook_event, webhook_cause, job or check.")
    object_id = models.TextField(null=True)
    objects_named = ArrayField(models.TextField(), db_column="objects")
    consequences = ArrayField(models.TextField(), help_text="The checks that follow from it and are muted.")
    silenced_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


class CurrentAlert(CurrentAlertColumns):
    """Something that somebody should know now."""

    class Meta:
        managed = False
        db_table = "v_alerts"


class CriticalAlert(CurrentAlertColumns):
    """Something that needs somebody at once."""

    class Meta:
        managed = False
        db_table = "v_critical_alerts"
