"""Test databases: copies of a template that is kept between runs and rebuilt for a new month or migration."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from glyphforge.database.connection import parameters_of

ROOT = Path(__file__).resolve().parents[2]
OURS = ("glyphforge", "billing", "monitoring")
WITH_DEFINITIONS = {"migrations", "mirror_migrations", "models"}
# The files that say what else `migrate` installs.
WITH_DATA = {"apps.py", "models.py", "registry.py", "roles.py", "settings.py"}
# Of this process: apart from xdist's other workers and, by TEST_DATABASE, from another suite on the same server.
WORKER = "_".join(filter(None, map(os.environ.get, ("TEST_DATABASE", "PYTEST_XDIST_WORKER")))) or "main"
# Of the tests that work on a whole database.
OPERATED = f"test_glyphforge_operated_{WORKER}"
LOCK = 7_301_122  # advisory: two suites on one server build a template once


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _key() -> str:
    """Changes when migrations, models (permissions) or the data that `migrate` installs may have changed."""
    packages = ("django", "dj-stripe", "django-q2", "django-allauth", "django-axes")
    versions = "".join(f"{name}=={version(name)}" for name in packages)
    sources = sorted(
        path
        for app in OURS
        for path in (ROOT / app).rglob("*.*")
        if path.suffix in {".py", ".sql"} and (WITH_DEFINITIONS & set(path.parts) or path.name in WITH_DATA)
    )
    # And with the month, of which `migrate` makes the partitions.
    month = os.environ["SUITE_MONTH"]
    return _digest(
        versions.encode(),
        month.encode(),
        *(str(path.relative_to(ROOT)).encode() + path.read_bytes() for path in sources),
    )


@contextmanager
def _server() -> Iterator[psycopg.Connection]:
    with psycopg.connect(**parameters_of("default") | {"dbname": "postgres", "autocommit": True}) as connection:
        yield connection


def _use(name: str) -> None:
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = name
    connections.settings["default"]["NAME"] = name


def _copy(server: psycopg.Connection, name: str, template: str) -> None:
    drop_statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    server.execute(drop_statement)
    server.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def _exists(server: psycopg.Connection, name: str) -> bool:
    return server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def _build(server: psycopg.Connection, name: str) -> None:
    """Migrate a draft and rename it when complete, so that a killed run leaves no half template."""
    if _exists(server, name):
        return
    draft = f"{name}_{os.getpid()}"
    _copy(server, draft, "template0")
    _use(draft)
    call_command("migrate", verbosity=0)
    connections["default"].close()
    server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(draft), sql.Identifier(name)))


def template() -> str:
    """The name of the migrated template; builds it first when the migrations have changed."""
    name = f"glyphforge_template_{_key()}"
    with _server() as server:
        server.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        _build(server, name)
        for (stale,) in server.execute(
            "SELECT datname FROM pg_database WHERE datname ~ '^glyphforge_(vendor|template)_' AND datname <> %s", [name]
        ).fetchall():
            drop(stale)
    return name


_template_name = ""


def create_for(worker: str = WORKER) -> str:
    """Gives the worker a fresh copy of the template and points Django at it."""
    global _template_name  # noqa: PLW0603 - computed once a process
    _template_name = _template_name or template()
    name = f"test_glyphforge_{worker}"
    connections["default"].close()
    with _server() as server:
        _copy(server, name, _template_name)
    _use(name)
    return name


@contextmanager
def copy(name: str) -> Iterator[str]:
    """A database of its own for a test that commits: yields its conninfo and drops it afterwards."""
    global _template_name  # noqa: PLW0603 - computed once a process
    if not _template_name:
        current = str(connections["default"].settings_dict["NAME"])
        _template_name = template()
        _use(current)
    with _server() as server:
        _copy(server, name, _template_name)
        yield make_conninfo(server.info.dsn, dbname=name)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def url(name: str = "") -> str:
    """The address of a database of this server, by default the test database, as DATABASE_URL has it."""
    parameters = connections["default"].get_connection_params()
    name = name or parameters["dbname"]
    given = {key: parameters[key] for key in ("host", "port", "user", "password") if parameters.get(key)}
    return f"postgresql:///{name}?" + "&".join(f"{key}={value}" for key, value in given.items())


def drop(name: str) -> None:
    connections["default"].close()
    with _server() as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def session(**options: object) -> psycopg.Connection:
    """Another connection to the test database."""
    return psycopg.connect(**parameters_of("default") | options)


@contextmanager
def sleeping() -> Iterator[psycopg.Connection]:
    """A session whose statement runs until the end of the block."""
    with session(autocommit=True) as other:
        other.pgconn.send_query(b"SELECT pg_sleep(3600)")
        try:
            yield other
        finally:
            other.cancel()
            while other.pgconn.get_result():
                pass
