"""The restore drill: proves that a backup can be restored, without touching the database in use."""

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import connections
from psycopg import sql

from glyphforge.database import backup, restore
from glyphforge.database.connection import DatabaseError
from glyphforge.database.verify import differences

SCRATCH = "glyphforge_drill_{database}_"


@dataclass(frozen=True)
class Drill:
    """A drill that succeeded: of which file, how many rows came back, and how long it took."""

    file: str
    row_count: int
    seconds: float


def drill(dump: Path | None = None, *, alias: str = "default") -> Drill:
    """Restore the backup, by default the newest, into a scratch database; compare counts and definitions; drop it.

    Needs the right to create databases. Raises DatabaseError when any of that fails. Both outcomes are recorded in
    backup_runs.
    """
    dump = dump or backup.newest(alias)
    begun = time.monotonic()
    prefix = scratch_prefix(alias)
    scratch = f"{prefix}{os.getpid()}"
    with backup.recorded("drill", dump, alias) as outcome:
        _drop_leftovers(prefix, alias)
        try:
            made = restore.restore(dump, into=scratch, alias=alias)
            _verify(scratch, alias, datetime.fromisoformat(made.created_at))
        finally:
            _drop(scratch, alias)
        rows = sum(made.row_counts.values())
        outcome.update(bytes=made.bytes, row_count=rows)
    return Drill(str(dump), rows, round(time.monotonic() - begun, 1))


def scratch_prefix(alias: str) -> str:
    """How the names of this database's scratch databases begin: a server's other databases have drills of their own."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        return SCRATCH.format(database=cursor.fetchone()[0])


def _verify(scratch: str, alias: str, taken_at: datetime) -> None:
    with restore.other_database(scratch, alias) as target:
        found = differences(target.alias, now=taken_at, with_rights=False)
    if found:
        raise DatabaseError(f"the restored database differs from the project: {'; '.join(map(str, found[:5]))}")


def _drop_leftovers(prefix: str, alias: str) -> None:
    """Drop what killed drills of this database left; a scratch database in use is another drill's."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT datname FROM pg_database AS d WHERE starts_with(datname, %s)"
            " AND NOT EXISTS (SELECT 1 FROM pg_stat_activity AS a WHERE a.datid = d.oid)",
            [prefix],
        )
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        _drop(name, alias)


def _drop(name: str, alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
