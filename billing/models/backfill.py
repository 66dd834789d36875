"""`stripe_backfills` and what belongs to them: written by `billing.stripe.backfill`."""

from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import uuid_key


class Backfill(models.Model):
    """One takeover of a Stripe account that has a past, resumable."""

    class Status(ToneChoices):
        RUNNING = "running", Tone.INFO, "Running"
        FINISHED = "finished", Tone.SUCCESS, "Finished"
        FAILED = "failed", Tone.DANGER, "Failed"

    id = uuid_key()
    status = models.TextField(choices=Status.choices, db_default=Status.RUNNING)
    requests = models.BigIntegerField(db_default=0)
    error = models.TextField(null=True)
    actor = models.TextField()
    reason = models.TextField()
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "stripe_backfills"
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M} ({self.get_status_display()})"


class BackfillList(models.Model):
    """How far a takeover is with one of Stripe's lists, and what came of it."""

    id = models.BigAutoField(primary_key=True)
    backfill = models.ForeignKey(Backfill, on_delete=models.CASCADE, related_name="lists")
    kind = models.TextField()
    position = models.TextField(null=True, help_text="The last object of the last page.")
    created_at = models.DateTimeField(null=True, help_text="When that object was created at Stripe.")
    listed = models.BigIntegerField(db_default=0)
    added = models.BigIntegerField(db_default=0)
    changed = models.BigIntegerField(db_default=0)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "stripe_backfill_lists"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.listed}"


class BackfillProblem(models.Model):
    """What a takeover left out, and why."""

    id = models.BigAutoField(primary_key=True)
    backfill = models.ForeignKey(Backfill, on_delete=models.CASCADE, related_name="problems")
    kind = models.TextField()
    stripe_id = models.TextField()
    problem = models.TextField()

    class Meta:
        db_table = "stripe_backfill_problems"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.stripe_id}: {self.problem}"
