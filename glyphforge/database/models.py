"""What was done to the database as a whole: backups and restore drills."""

from django.db import models
from django.db.models.functions import Now

from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import uuid_key


class BackupRun(models.Model):
    """A backup or restore drill that ended; `manage.py database` writes it."""

    class Kind(models.TextChoices):
        BACKUP = "backup", "Backup"
        DRILL = "drill", "Restore drill"

    class Status(ToneChoices):
        SUCCEEDED = "succeeded", Tone.SUCCESS, "Succeeded"
        FAILED = "failed", Tone.DANGER, "Failed"

    id = uuid_key()
    kind = models.TextField(choices=Kind.choices)
    status = models.TextField(choices=Status.choices)
    file = models.TextField()
    bytes = models.BigIntegerField(null=True)
    row_count = models.BigIntegerField(null=True)
    error = models.TextField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "backup_runs"

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.finished_at:%Y-%m-%d %H:%M} {self.status}"


class Installation(models.Model):
    """Which database was told to be production: one row, of which a backup takes a copy along."""

    only_row = models.BooleanField(primary_key=True, db_default=True)
    system_identifier = models.BigIntegerField()
    table_oid = models.BigIntegerField()
    database_name = models.TextField()
    adopted_at = models.DateTimeField(db_default=Now())
    adopted_by = models.TextField()

    class Meta:
        db_table = "installation"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.database_name} since {self.adopted_at:%Y-%m-%d %H:%M}"
