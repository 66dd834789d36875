"""Loads the rows of a data-only backup into a database that was migrated and holds nothing else yet."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import ProgrammingError, transaction
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from glyphforge.database import manifest
from glyphforge.database.connection import DatabaseError, environment, program
from glyphforge.database.manifest import Manifest

# How pg_restore writes a table's rows and a sequence's value: https://www.postgresql.org/docs/current/sql-copy.html
_COPY = re.compile(rb"COPY .* FROM stdin;\n")
_SETVAL = b"SELECT pg_catalog.setval("
_END = b"\\.\n"
CHUNK = 1 << 16


def load(target: Any, dump: Path, made: Manifest, *, alias: str) -> None:
    """Replace what `migrate` filled `target` with by the backup's rows, and set its sequences, in one transaction.

    Triggers and foreign keys are off meanwhile: what they did is among the rows. Partitions that are missing are made.
    Raises DatabaseError, with nothing changed, for a role that may not switch triggers off, a database that is not
    migrated as the backup's was or holds other rows already, and counts that differ from the manifest.
    """
    with transaction.atomic(using=target.alias), target.cursor() as cursor:
        _switch_triggers_off(cursor, target)
        _require_only_migrated(cursor, target, made)
        for name, (parent, month) in made.partitions.items():
            cursor.execute("SELECT to_regclass(quote_ident(%s))", [name])
            if cursor.fetchone() == (None,):
                cursor.execute("SELECT create_monthly_partition(%s::regclass, %s::date)", [parent, month])
        tables = [sql.Identifier(name) for name in made.row_counts]
        cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)))
        values = []
        with _script(dump, alias) as lines:
            for statement, rows in _statements(lines):
                if rows is None:
                    values.append(statement)
                else:
                    _copy(cursor, statement, rows)
        manifest.compare(cursor, made, str(target.settings_dict["NAME"]))
        # Last, as nothing undoes them: https://www.postgresql.org/docs/current/functions-sequence.html
        for statement in values:
            cursor.execute(statement)


def _switch_triggers_off(cursor: Any, target: Any) -> None:
    """For this transaction: https://www.postgresql.org/docs/current/runtime-config-client.html"""
    try:
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
    except ProgrammingError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        role = target.settings_dict["USER"] or "this role"
        raise DatabaseError(
            f"{role} may not switch triggers off, which loading data alone needs: restore as a superuser, or as one"
            f" GRANT SET ON PARAMETER session_replication_role TO {role}"
        ) from error


def _require_only_migrated(cursor: Any, target: Any, made: Manifest) -> None:
    name = target.settings_dict["NAME"]
    counts = manifest.row_counts(cursor)
    missing = sorted(set(made.row_counts) - set(counts) - set(made.partitions))
    if missing:
        raise DatabaseError(f"database {name} has no table {missing[0]}: run manage.py migrate there first")
    heads = manifest.migration_heads(target)
    # A schema that was restored has no rows, and so knows of no migration.
    if heads and heads != made.migrations:
        app = next(app for app in sorted({*heads, *made.migrations}) if heads.get(app) != made.migrations.get(app))
        raise DatabaseError(
            f"database {name} is migrated to {app} {heads.get(app)}, the backup was at {made.migrations.get(app)}:"
            " restore with the release that took it, then migrate"
        )
    seeded = {table for config in apps.get_app_configs() for table in getattr(config, "seeded", ())}
    cursor.execute("SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits")
    parents = dict(cursor.fetchall())
    filled = [table for table, rows in counts.items() if rows and parents.get(table, table) not in seeded]
    if filled:
        raise DatabaseError(
            f"database {name} holds rows already, in {', '.join(filled[:5])}: restore into one that was only migrated"
        )


@contextmanager
def _script(dump: Path, alias: str) -> Iterator[Iterable[bytes]]:
    """The lines of the backup as pg_restore writes them; DatabaseError when it fails."""
    arguments = [str(program("pg_restore", alias)), "--data-only", "--file=-", str(dump)]
    with subprocess.Popen(
        arguments, env=environment(alias), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout  # noqa: S101 - for the type checker
        assert process.stderr  # noqa: S101 - for the type checker
        yield process.stdout
        complaints = process.stderr.read().decode(errors="replace")
    if process.returncode != 0:
        raise DatabaseError(f"pg_restore: {complaints.split('error:')[-1].strip() or 'failed silently'}")


def _statements(lines: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes] | None]]:
    """Each statement that counts, with the lines of its rows if it takes any; the others set up psql's session."""
    lines = iter(lines)
    for line in lines:
        if _COPY.fullmatch(line):
            yield line.decode(), iter(lines.__next__, _END)
        elif line.startswith(_SETVAL):
            yield line.decode(), None


def _copy(cursor: Any, statement: str, rows: Iterator[bytes]) -> None:
    with cursor.copy(statement) as copy:
        for chunk in _chunks(rows):
            copy.write(chunk)


def _chunks(rows: Iterator[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row)
        if size >= CHUNK:
            yield b"".join(chunk)
            chunk, size = [], 0
    yield b"".join(chunk)
