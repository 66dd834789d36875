"""`job_schedules`: django-q2's schedules in a form that the checks, written in SQL, can read."""

from django.db import models
from django.db.models.functions import Now


class JobSchedule(models.Model):
    """When a job should run; kept by `monitoring.jobs.schedules` from the registry and the operators' edits."""

    job = models.TextField(primary_key=True)
    description = models.TextField(help_text="What the job protects against.")
    cron = models.TextField(help_text="Cron expression, UTC.")
    enabled = models.BooleanField(db_default=True)
    timeout_seconds = models.IntegerField()
    interval_seconds = models.IntegerField(help_text="The longest pause between two slots.")
    grace_seconds = models.IntegerField(help_text="How late a slot may start before it counts as missed.")
    next_due_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())
    switched_off_at = models.DateTimeField(null=True)
    switched_off_by = models.TextField(null=True)

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
