"""The jobs that look after the database as a whole: backups, restore drills, drift."""

from pathlib import Path

from django.conf import settings
from django.db import ProgrammingError
from psycopg.errors import InsufficientPrivilege

from glyphforge.database import backup, drill, retention, verify
from glyphforge.database.connection import DatabaseError, maintenance_alias
from monitoring.jobs.outcome import JobFailed, JobSkipped, Outcome

# What differs is told in words, as far as somebody reads on.
LISTED = 20


def take_backup() -> Outcome:
    """Take a backup into BACKUP_DIR, then delete those beyond the newest BACKUP_KEEP. `rows` is what it holds.

    `detail` has `file`, `bytes` and `deleted`. A folder that is missing is a failure and is not made: it may be a disk
    not mounted.
    """
    alias = _configured()
    try:
        path, made = backup.take(alias=alias)
        rows = sum(made.row_counts.values())
        detail = {"file": str(path), "bytes": made.bytes}
        try:
            deleted = retention.prune(settings.BACKUP_KEEP, alias=alias)
        except OSError as error:
            raise JobFailed(f"taken, but old ones cannot be deleted: {error}", Outcome(rows, detail)) from error
    except DatabaseError as error:
        raise JobFailed(str(error), Outcome()) from error
    return Outcome(rows, {**detail, "deleted": [gone.name for gone in deleted]})


def restore_drill() -> Outcome:
    """Restore the newest backup of BACKUP_DIR into a scratch database and compare. `rows` is what was restored.

    `detail` has `file` and `seconds`. Fails where the folder is missing or the backup does not restore.
    """
    alias = _configured()
    try:
        done = drill.drill(alias=alias)
    except DatabaseError as error:
        raise JobFailed(str(error), Outcome()) from error
    return Outcome(done.row_count, {"file": done.file, "seconds": done.seconds})


def find_drift() -> Outcome:
    """Compare the database with what the migrations define. `rows` is the number of differences.

    `detail` tells the first 20. Differences do not fail the job: the check `drift` tells of them. Skipped where the
    role may not create the schema that the comparison needs.
    """
    try:
        found = verify.differences(maintenance_alias())
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        problem = str(error).strip().partition("\n")[0]
        raise JobSkipped(f"{problem}: name a role that may in MAINTENANCE_DATABASE_URL") from error
    return Outcome(len(found), {"differences": [str(difference) for difference in found[:LISTED]]})


def _configured() -> str:
    """The alias of the connection for backups. Fails the job when their folder is missing."""
    if not Path(settings.BACKUP_DIR).is_dir():
        raise JobFailed(f"BACKUP_DIR: {settings.BACKUP_DIR} is no folder on this machine", Outcome())
    return maintenance_alias()
