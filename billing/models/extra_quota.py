"""`entitlement_grants`: what customers may use beyond their plan; written by `billing.services.extra_quota`."""

from datetime import UTC, datetime, timedelta

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models.functions import Now

from billing.models.api_key import ApiKey
from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import NOT_NEGATIVE, created_at, uuid_key

MOST_REQUESTS, MOST_PER_MINUTE = 10**15, 10**9


class ExtraQuota(models.Model):
    """So many requests more a month and a minute, while it is in force; of one key, or of all that a customer has."""

    class State(ToneChoices):
        """By the clock: no column says it."""

        UPCOMING = "upcoming", Tone.INFO, "Upcoming"
        IN_FORCE = "in_force", Tone.SUCCESS, "In force"
        ENDED = "ended", Tone.NEUTRAL, "Ended"

    id = uuid_key()
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="extra_quotas")
    api_key = models.ForeignKey(
        ApiKey,
        verbose_name="API key",
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Empty is all of the customer's keys.",
    )
    extra_requests = models.BigIntegerField(
        "requests a month",
        db_default=0,
        validators=[NOT_NEGATIVE, MaxValueValidator(MOST_REQUESTS)],
        help_text="More than the plan's, in each calendar month (UTC) that it touches.",
    )
    extra_per_minute = models.IntegerField(
        "requests a minute",
        db_default=0,
        validators=[NOT_NEGATIVE, MaxValueValidator(MOST_PER_MINUTE)],
        help_text="More than the plan's, for each key.",
    )
    starts_at = models.DateTimeField(db_default=Now())
    ends_at = models.DateTimeField()
    reason = models.TextField()
    granted_by = models.TextField()
    idempotency_key = models.TextField(
        unique=True, null=True, editable=False, help_text="The form or the change of plan that it came of."
    )
    created_at = created_at()

    class Meta:
        db_table = "entitlement_grants"
        verbose_name = "extra quota"
        verbose_name_plural = "extra quota"
        default_permissions = ("view",)
        permissions = [("grant_extraquota", "Can grant and end extra quota")]

    def __str__(self) -> str:
        given = [
            f"{count:,} requests a {window}"
            for count, window in ((self.extra_requests, "month"), (self.extra_per_minute, "minute"))
            if count
        ]
        return f"{' and '.join(given)} more until {self.ends_at:%Y-%m-%d %H:%M} UTC"

    def state_at(self, moment: datetime) -> State:
        """Whether it is in force then."""
        if moment < self.starts_at:
            return self.State.UPCOMING
        return self.State.IN_FORCE if moment < self.ends_at else self.State.ENDED


def end_of_month(moment: datetime) -> datetime:
    """When the calendar month (UTC) of the moment is over."""
    first = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1)
