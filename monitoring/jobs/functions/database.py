"""The jobs that look after the database as a whole: backups, restore drills, drift."""

from dataclasses import asdict
from pathlib import Path

from django.conf import settings
from django.db import ProgrammingError
from psycopg.errors import InsufficientPrivilege

from glyphforge.audit import seals
from glyphforge.database import backup, drill, mending, retention, verify
from glyphforge.database.connection import DatabaseError, maintenance_alias
from glyphforge.errors import LeftOut
from monitoring.jobs.deadline import remaining_seconds
from monitoring.jobs.outcome import JobFailed, JobSkipped, Outcome
from monitoring.jobs.steps import number, query

# What differs is told in words, as far as somebody reads on.
LISTED = 20
# And what the page shows of them.
SHOWN, LONGEST_SQL = 100, 20_000


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
        except LeftOut as error:
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

    `detail` tells the first 20 in words under `differences`, and under `found` the first 100 for the page: `problem`,
    `kind`, `name`, `detail` and the statements that mend it, `sql`. Differences do not fail the job: the
    check `drift` tells of them. An audit log that is not what was sealed does fail it. Skipped where the role may not
    create the schema that the comparison needs.
    """
    try:
        compared = verify.compare(maintenance_alias())
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        problem = str(error).strip().partition("\n")[0]
        raise JobSkipped(f"{problem}: name a role that may in MAINTENANCE_DATABASE_URL") from error
    found = compared.differences
    shown = [
        {**asdict(each), "sql": mending.text(mending.plan(compared, [each]))[:LONGEST_SQL]} for each in found[:SHOWN]
    ]
    outcome = Outcome(len(found), {"differences": [str(each) for each in found[:LISTED]], "found": shown})
    if forged := seals.verify():
        raise JobFailed(f"The audit log is not what was sealed. First, {forged}.", outcome)
    return outcome


def seal_audit_log() -> Outcome:
    """Seal the audit rows that are not sealed yet, as many as the time allows. `rows` is how many.

    `detail` has `anchor`, which stands for all of them.
    """
    rows = 0
    until = (remaining_seconds() or 0) / 2
    while sealed := number(query("SELECT seal_audit_log()")):
        rows += sealed
        if (remaining_seconds() or 0) < until:
            break
    return Outcome(rows, {"anchor": str(seals.anchor() or "")})


def _configured() -> str:
    """The alias of the connection for backups. Fails the job when their folder is missing."""
    if not Path(settings.BACKUP_DIR).is_dir():
        raise JobFailed(f"BACKUP_DIR: {settings.BACKUP_DIR} is no folder on this machine", Outcome())
    return maintenance_alias()
