"""`usage_corrections`: written by `correct_usage()`, never changed; `quota_usage`: what a month counts with them."""

from django.db import models

from billing.models.api_key import ApiKey
from billing.models.user import User
from glyphforge.rows import created_at, uuid_key


class UsageCorrection(models.Model):
    """So many requests of a month that are to count more, or fewer, than were recorded."""

    id = uuid_key()
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="usage_corrections")
    month = models.DateField(help_text="Its first day, UTC.")
    number = models.IntegerField(editable=False, help_text="Which of the month's corrections it is.")
    api_key = models.ForeignKey(
        ApiKey,
        verbose_name="API key",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        help_text="Which key it was about; it changes nothing.",
    )
    requests = models.BigIntegerField(help_text="More, or with a minus fewer, than were recorded.")
    reason = models.TextField()
    made_by = models.TextField()
    idempotency_key = models.TextField(unique=True, null=True, editable=False, help_text="The form that it came of.")
    created_at = created_at()

    class Meta:
        db_table = "usage_corrections"
        verbose_name = "usage correction"
        default_permissions = ("view",)
        permissions = [("correct_usage", "Can correct what a customer has used")]

    def __str__(self) -> str:
        return f"{self.requests:+,} requests of {self.month:%Y-%m}"


class QuotaUsage(models.Model):
    """What counts against a customer's limit of a calendar month (UTC): requests by `QUOTA_COUNTS`, and corrections."""

    pk = models.CompositePrimaryKey("user_id", "month")
    user = models.ForeignKey(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    month = models.DateField()
    counted_requests = models.BigIntegerField()
    corrected_requests = models.BigIntegerField()
    used_requests = models.BigIntegerField(help_text="Both together, never less than nothing.")

    class Meta:
        db_table = "quota_usage"
        managed = False

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}: {self.used_requests}"
