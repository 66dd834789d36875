"""Who failed to prove an identity; `count_authentication_failure()` in the database writes it."""

from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices


class AuthenticationFailure(models.Model):
    """Failures of one source to prove an identity, in a window of ten minutes."""

    class Kind(ToneChoices):
        """What somebody failed to prove."""

        API_KEY = "api_key", Tone.NEUTRAL, "API key"
        SERVICE_TOKEN = "service_token", Tone.NEUTRAL, "Service token"
        STAFF_PASSWORD = "staff_password", Tone.WARNING, "Staff password"
        STAFF_SECOND_FACTOR = "staff_second_factor", Tone.DANGER, "Staff second factor"

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField(choices=Kind.choices)
    source = models.TextField(help_text="An address, or what else is known of the caller.")
    window_start = models.DateTimeField()
    failures = models.IntegerField(db_default=1)
    last_subject = models.TextField(null=True, help_text="The key's prefix or the account's name that was tried last.")
    last_failure_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "authentication_failures"

    def __str__(self) -> str:
        return f"{self.failures} by {self.source}"
