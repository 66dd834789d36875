from datetime import timedelta

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone


class JobSchedule(models.Model):
    """When a job should run; kept by `monitoring.schedules` from the registry and the operators' edits."""

    job = models.TextField(primary_key=True)
    description = models.TextField(help_text="What the job protects against.")
    cron = models.TextField(help_text="Cron expression, UTC.")
    enabled = models.BooleanField(db_default=True)
    timeout_seconds = models.IntegerField()
    interval_seconds = models.IntegerField(help_text="The longest pause between two slots.")
    grace_seconds = models.IntegerField(help_text="How late a slot may start before it counts as missed.")
    next_due_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "job_schedules"
        verbose_name = "job"
        default_permissions = ("view",)
        permissions = [
            ("run_job", "Can run a maintenance job now"),
            ("schedule_job", "Can change or switch off a job's schedule"),
        ]

    def __str__(self) -> str:
        return self.job

    @property
    def is_overdue(self) -> bool:
        """Whether a slot passed, with its grace, and nobody ran it."""
        if not self.enabled or self.next_due_at is None:
            return False
        return self.next_due_at + timedelta(seconds=self.grace_seconds) < timezone.now()
