"""`job_runs`: what ran, when, and how it ended; the running row of a job is its lease."""

from datetime import timedelta

from django.db import models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import uuid_key


class JobRun(models.Model):
    """One run of a job, or the note that a slot was skipped; written by `monitoring.jobs.runner` only."""

    class Status(ToneChoices):
        RUNNING = "running", Tone.INFO, "Running"
        SUCCEEDED = "succeeded", Tone.SUCCESS, "Succeeded"
        FAILED = "failed", Tone.DANGER, "Failed"
        SKIPPED = "skipped", Tone.NEUTRAL, "Skipped"

    # Every db_default below stands for the column's own default, which the table's SQL states.
    id = uuid_key()
    job = models.TextField()
    scheduled_for = models.DateTimeField(
        db_default=Now(), help_text="The slot of the schedule, or the moment somebody asked."
    )
    status = models.TextField(choices=Status.choices, db_default=Status.RUNNING)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    rows_affected = models.BigIntegerField(null=True)
    detail = models.JSONField(db_default={})
    error = models.TextField(null=True)
    trigger = models.TextField(
        db_default="manual", help_text="What started it: schedule, cron, systemd, lambda or a person."
    )
    lease_until = models.DateTimeField(
        db_default=Now(),
        help_text="A running job extends this; once passed, the process is taken for dead.",
    )
    attempts = models.IntegerField(db_default=1, help_text="More than one when an earlier process died in this slot.")
    worker = models.TextField(null=True, help_text="Host and process that ran it.")

    class Meta:
        db_table = "job_runs"
        verbose_name = "job run"
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["job", "scheduled_for"], name="job_runs_slot")]

    def __str__(self) -> str:
        return f"{self.job} {self.scheduled_for:%Y-%m-%d %H:%M:%S} UTC"

    @classmethod
    def last(cls, kind: str) -> models.QuerySet["JobRun"]:
        """The last run of each job, at most one a job; `kind` is one of the view `last_job_runs`, such as `ended`."""
        return cls.objects.filter(pk__in=RawSQL("SELECT id FROM last_job_runs WHERE kind = %s", [kind]))

    @property
    def problem(self) -> str:
        """Why it failed, or why it was skipped; empty otherwise."""
        return self.error or (str(self.detail.get("reason", "")) if self.status == self.Status.SKIPPED else "")

    @property
    def duration(self) -> timedelta | None:
        """How long it took; None while it runs."""
        return self.finished_at - self.started_at if self.finished_at else None
