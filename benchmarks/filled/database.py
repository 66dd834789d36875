"""Gives the benchmarks a filled database: kept from an earlier run where size, schema and filling are the same."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import psycopg
from psycopg import sql
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.filled import fill
from benchmarks.filled.size import Size
from glyphforge.embedded import Server, server
from tests.support import bulk

VAR = Path(__file__).resolve().parents[2] / "var"
OPTIONS = {"max_connections": "60", "shared_buffers": "512MB", "max_wal_size": "4GB"}
KEPT_DAYS = 2  # longer, and more would have to be added than is worth it


@contextmanager
def filled(size: Size, *, fresh: bool) -> Iterator[str]:
    """The URL of the database, with Django set up on it; the server runs until the end."""
    postgres = server(VAR / "bench-postgres", options=OPTIONS)
    postgres.start()
    try:
        name = _prepare(postgres, size, fresh=fresh)
        yield postgres.url(name)
    finally:
        from django.db import connections

        connections.close_all()
        postgres.stop()


def _prepare(postgres: Server, size: Size, *, fresh: bool) -> str:
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": postgres.url("postgres")}
    import django

    django.setup()
    from django.db import connections

    from tests.support import database

    with Progress(SpinnerColumn(), TextColumn("Filling: {task.description}"), TimeElapsedColumn()) as progress:
        task = progress.add_task("the schema; the first time it takes a minute", total=None)
        template = database.template()
        prefix = f"filled_{size.users}_"
        name = prefix + _digest(template, size)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            kept = not fresh and _is_kept(connection, name)
            steps = fill.catch_up if kept else fill.fill
            draft = name if kept else f"{prefix}draft"
            if not kept:
                for stale in _of_this_size(connection, prefix):
                    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(stale)))
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                        sql.Identifier(draft), sql.Identifier(template)
                    )
                )
            with psycopg.connect(postgres.url(draft), autocommit=True) as own:
                for step in steps(own, size):
                    progress.update(task, description=step)
            if not kept:
                # Only a complete one bears the name.
                connection.execute(
                    sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(draft), sql.Identifier(name))
                )
                connection.execute(
                    sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(_now(connection)))
                )
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = connections.settings["default"]["NAME"] = name
    return name


def _digest(template: str, size: Size) -> str:
    """Changes with the migrations, the size and the way of filling."""
    sources = b"".join(Path(module.__file__).read_bytes() for module in (fill, bulk))
    return hashlib.sha256(f"{template}{astuple(size)}".encode() + sources).hexdigest()[:12]


def _of_this_size(connection: psycopg.Connection, prefix: str) -> list[str]:
    found = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
    return [name for (name,) in found]


def _is_kept(connection: psycopg.Connection, name: str) -> bool:
    """Whether it is there and young enough: customers and events do not move on, only traffic does."""
    found = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]
    ).fetchone()
    if found is None:
        return False
    ((is_young,),) = connection.execute(
        "SELECT %s::timestamptz > now() - %s * interval '1 day'", [found[0], KEPT_DAYS]
    ).fetchall()
    return bool(is_young)


def _now(connection: psycopg.Connection) -> str:
    ((now,),) = connection.execute("SELECT now()::text").fetchall()
    return str(now)
