"""`silences`: maintenance windows, opened and ended by `monitoring.alerts.silences`."""

from django.db import models
from django.db.models.functions import Now

from glyphforge.rows import uuid_key


class Silence(models.Model):
    """A time in which the alerts of some checks send no message."""

    id = uuid_key()
    check_pattern = models.TextField("checks", help_text="The name of a check; * stands for any text.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.TextField()
    created_by = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "silences"
        default_permissions = ("view",)
        permissions = [("silence_alerts", "Can silence alerts in a maintenance window")]

    def __str__(self) -> str:
        return f"{self.check_pattern} until {self.ends_at:%Y-%m-%d %H:%M} UTC"
