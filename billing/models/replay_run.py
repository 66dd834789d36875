"""`replay_runs`: written by `billing.stripe.events.replay_runs`."""

from django.db import models

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import created_at, updated_at, uuid_key


class ReplayRun(models.Model):
    """A replay of stored events in the background: which, how fast, how far, and for whom."""

    class Status(ToneChoices):
        RUNNING = "running", Tone.INFO, "Running"
        FINISHED = "finished", Tone.SUCCESS, "Finished"
        STOPPED = "stopped", Tone.NEUTRAL, "Stopped"

    id = uuid_key()
    status = models.TextField(choices=Status.choices, db_default=Status.RUNNING)
    filters = models.JSONField(help_text="Which events; see billing.stripe.events.filter.EventFilter.")
    events_per_minute = models.IntegerField()
    total = models.IntegerField(db_default=0)
    processed = models.IntegerField(db_default=0)
    failed = models.IntegerField(db_default=0)
    skipped = models.IntegerField(db_default=0, help_text="In another worker's hands at that moment.")
    position_at = models.DateTimeField(null=True)
    position_id = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    actor = models.TextField()
    reason = models.TextField()
    created_at = created_at()
    updated_at = updated_at()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "replay_runs"
        ordering = ["-created_at"]
        permissions = [("stop_replayrun", "Can stop a replay in the background")]

    def __str__(self) -> str:
        return f"{self.done} of {self.total} events"

    @property
    def done(self) -> int:
        """How many events were tried."""
        return self.processed + self.failed + self.skipped

    @property
    def percent(self) -> int:
        """Progress, 0 to 100."""
        return min(100, round(100 * self.done / self.total)) if self.total else 100
