"""What `check_rate_limit()` counts and `cleanup_rate_limits()` empties; Python only reads it."""

from django.db import models

from billing.models.api_key import ApiKey
from billing.models.user import User
from glyphforge.rows import uuid_key


class RateLimit(models.Model):
    """How often a key was used in a minute, or its user in a month. Unlogged: a crash of the server forgets it."""

    id = uuid_key()
    api_key = models.ForeignKey(ApiKey, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    window_start = models.DateTimeField()
    window_seconds = models.IntegerField()
    request_count = models.BigIntegerField(db_default=0)
    expires_at = models.DateTimeField()
    user = models.ForeignKey(User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    refused_count = models.BigIntegerField(
        null=True, db_default=0, help_text="Of a month: what was refused; unknown once permits were leased."
    )

    class Meta:
        db_table = "rate_limits"

    def __str__(self) -> str:
        return f"{self.request_count} in {self.window_seconds} s"
