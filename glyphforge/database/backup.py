"""Backups: one consistent dump, its manifest, read back in full before it counts."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from django.apps import apps
from django.conf import settings
from django.db import Error, connections, transaction
from psycopg import sql

from glyphforge.database import manifest
from glyphforge.database.clock import database_time
from glyphforge.database.connection import DatabaseError, environment, one_line, program
from glyphforge.database.manifest import Manifest
from glyphforge.errors import Refused

Content = Literal["full", "schema", "data"]
FLAGS: dict[str, list[str]] = {"full": [], "schema": ["--schema-only"], "data": ["--data-only"]}
# Whoever keeps a table to himself for longer makes the dump fail, and not hang.
LOCK_WAIT_MS = 60_000
# The name of a backup that was given none; sorts by time.
NAME = "glyphforge-{:%Y%m%dT%H%M%SZ}.dump"


def folder() -> Path:
    """Where backups go that were given no name: BACKUP_DIR, else var/backups."""
    return Path(settings.BACKUP_DIR or settings.VAR_DIR / "backups")


def newest(alias: str = "default") -> Path:
    """This database's full backup in `folder()` that was taken last, whatever its name; DatabaseError without one."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT current_database()")
        (database,) = cursor.fetchone()
    full = [
        (made.created_at, path)
        for path in folder().glob("*.dump")
        if (made := _known(path)) and (made.content, made.database) == ("full", database)
    ]
    if not full:
        raise DatabaseError(f"no full backup of {database} in {folder()}: make one with manage.py database backup")
    return max(full)[1]


def _known(path: Path) -> Manifest | None:
    """The manifest; None where it is missing or damaged, which says nothing against the other backups."""
    try:
        return manifest.read(path)
    except DatabaseError:
        return None


def take(target: Path | None = None, *, content: Content = "full", alias: str = "default") -> tuple[Path, Manifest]:
    """Write a verified backup and its manifest; returns both.

    `content` is full, schema or data; without a `target` the file is named by the database's time, in `folder()`.
    Nothing stands under the final name before it is complete, on disk and read back. Never overwrites. The rows of
    `manifest.without_rows()` are left out. Raises DatabaseError, and leaves no partial file, when anything fails or
    another backup of this database is being taken; both outcomes are recorded in backup_runs. Dump and counts share one
    snapshot: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
    """
    try:
        now = database_time(alias)
    except Error as error:
        raise DatabaseError(one_line(error)) from error
    target = target or folder() / NAME.format(now)
    with recorded("backup", target, alias) as outcome:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for config in apps.get_app_configs():
                if beside := getattr(config, "beside_backup", None):
                    beside(target.parent, alias)
        except OSError as error:
            raise DatabaseError(f"{target.parent}: {error.strerror}") from error
        except Refused as error:
            raise DatabaseError(str(error)) from error
        with _exclusive(alias) as cursor:
            made = _write(target, content, alias, cursor, now)
        outcome.update(bytes=made.bytes, row_count=sum(made.row_counts.values()))
    return target, made


@contextmanager
def _exclusive(alias: str) -> Iterator[Any]:
    """One snapshot for dump and counts, and a lock for as long: two at once could choose the same name."""
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # A large dump takes longer than a role's limits allow; the caller's own limit holds.
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET LOCAL {limit} = 0")
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('backup', 0))")
        if cursor.fetchone() != (True,):
            raise DatabaseError("another backup of this database is being taken")
        yield cursor


def _write(target: Path, content: Content, alias: str, cursor: Any, now: datetime) -> Manifest:
    if target.exists():
        raise DatabaseError(f"{target}: exists already")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        made = _dump(partial, content, alias, cursor, now)
        run("pg_restore", alias, "--file", os.devnull, str(partial))
        made.write(target)
        _persist(partial, target)
    except OSError as error:
        raise DatabaseError(f"{target}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
        if not target.exists():
            manifest.path_for(target).unlink(missing_ok=True)
    return made


def _dump(partial: Path, content: Content, alias: str, cursor: Any, now: datetime) -> Manifest:
    """Dump and count in one snapshot, so that the counts are exactly those of the dump."""
    partial.touch(mode=0o600)
    cursor.execute("SELECT pg_export_snapshot(), current_database(), current_setting('server_version')")
    snapshot, database, version = cursor.fetchone()
    excluded = [f"--exclude-table-data=public.{name}" for name in manifest.without_rows()]
    options = ["--format=custom", "--no-password", "--no-unlogged-table-data", f"--lock-wait-timeout={LOCK_WAIT_MS}"]
    where = [f"--snapshot={snapshot}", f"--file={partial}"]
    run("pg_dump", alias, *options, *excluded, *FLAGS[content], *where)
    counts = manifest.row_counts(cursor) if content != "schema" else {}
    for name in manifest.without_rows():
        if name in counts:
            counts[name] = 0
    roles, heads = manifest.granted_roles(cursor), manifest.migration_heads(connections[alias])
    return Manifest(
        format=manifest.FORMAT,
        content=content,
        created_at=now.isoformat(timespec="seconds"),
        database=database,
        server_version=version,
        bytes=partial.stat().st_size,
        sha256=manifest.sha256(partial),
        migrations=heads,
        roles=roles,
        row_counts=counts,
        without_rows=manifest.without_rows(),
        partitions=manifest.partitions(cursor),
        audit_anchor=manifest.audit_anchor(cursor, alias),
    )


def _persist(partial: Path, target: Path) -> None:
    """Rename once the bytes are on the disk, so that a power cut leaves a whole file or none."""
    for path in (partial, manifest.path_for(target)):
        _sync(path)
    partial.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run(name: str, alias: str, *arguments: str, database: str | None = None) -> None:
    """Run pg_dump or pg_restore against the connection's server; raises DatabaseError with its first complaint.

    `database` names another one of that server. What the program writes to standard output is thrown away.
    """
    done = subprocess.run(
        [program(name, alias), *arguments],
        env=environment(alias, database),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        complaints = [line for line in done.stderr.splitlines() if "error:" in line] or done.stderr.splitlines()
        if done.returncode < 0:
            complaints = [f"ended by {signal.Signals(-done.returncode).name}"]
        raise DatabaseError(f"{name}: {complaints[0].split('error:')[-1].strip() if complaints else 'failed silently'}")


@contextmanager
def recorded(kind: Literal["backup", "drill"], file: Path, alias: str) -> Iterator[dict[str, Any]]:
    """Write the outcome of the block into backup_runs; the block may fill in `bytes` and `row_count`.

    An error of the block is raised again as DatabaseError. A block that is stopped from outside has failed too.
    """
    begun = time.monotonic()
    outcome: dict[str, Any] = {"bytes": None, "row_count": None, "error": None}

    def record(status: str) -> None:
        values = {"kind": kind, "status": status, "file": str(file), **outcome}
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join(map(sql.Placeholder, values))
        # Both times by the database's clock: this machine's may differ, and a run must not end before it began.
        statement = sql.SQL(
            "INSERT INTO backup_runs (started_at, finished_at, {})"
            " VALUES (clock_timestamp() - %(seconds)s * interval '1 second', clock_timestamp(), {})"
        )
        with connections[alias].cursor() as cursor:
            cursor.execute(statement.format(names, places), {**values, "seconds": time.monotonic() - begun})

    def record_failure(error: str) -> None:
        outcome["error"] = error
        # Where the database itself is what fails, the missing row tells of it: the age of the last success grows.
        with suppress(Error):
            record("failed")

    try:
        yield outcome
    except (DatabaseError, Error) as error:
        record_failure(one_line(error))
        raise DatabaseError(one_line(error)) from error
    except KeyboardInterrupt:
        record_failure("stopped before it was done")
        raise
    record("succeeded")
