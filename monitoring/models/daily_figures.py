"""`daily_figures`: written by `take_daily_snapshot()`, one row a day."""

from django.db import models
from django.db.models.functions import Now


class DailyFigures(models.Model):
    """What a day (UTC) came to; today's row is provisional."""

    day = models.DateField(primary_key=True)
    total_users = models.BigIntegerField("customers")
    new_users = models.BigIntegerField("new customers")
    paying_customers = models.BigIntegerField()
    churned_customers = models.BigIntegerField()
    requests = models.BigIntegerField()
    failed_requests = models.BigIntegerField()
    active_users = models.BigIntegerField("active customers")
    total_response_time_ms = models.BigIntegerField()
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "daily_figures"
        verbose_name = "day of figures"
        verbose_name_plural = "days of figures"

    def __str__(self) -> str:
        return f"{self.day}"
