"""Restores a backup into an empty database, or its data alone into one that was migrated, and compares the rows."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import Error, connections, transaction
from psycopg import sql

from glyphforge.database import manifest, roles
from glyphforge.database.backup import run
from glyphforge.database.connection import DatabaseError, one_line
from glyphforge.database.load import load
from glyphforge.database.manifest import Manifest
from glyphforge.errors import Refused

logger = logging.getLogger(__name__)


def restore(dump: Path, *, into: str | None = None, alias: str = "default") -> Manifest:
    """Load a backup into this connection's database, or into `into` on the same server.

    `into` is created when missing, and so are roles that the manifest names, which then cannot log in. The objects
    belong to the owner's role (`glyphforge.database.roles`) where it exists and whoever restores may act as it, else to
    whoever restores. Data alone goes into a database that was migrated: see `load.load()`. All or nothing: when loading
    fails the database is as empty as before. Raises DatabaseError for a damaged file and a database that holds tables
    already, and, with the rows in place, for counts that differ from the manifest. What pg_restore does:
    https://www.postgresql.org/docs/current/app-pgrestore.html
    """
    made = manifest.check(dump)
    name = into or str(connections[alias].settings_dict["NAME"])
    try:
        if made.content == "data":
            with other_database(name, alias) as target:
                load(target, dump, made, alias=alias)
                _finish(target, dump, alias)
                with target.cursor() as cursor:
                    cursor.execute("ANALYZE")
            return made
        if into:
            create_database(into, alias)
        with other_database(name, alias) as target:
            _require_empty(target)
            _create_roles(target, made.roles)
            options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-password"]
            run("pg_restore", alias, *options, f"--dbname={name}", str(dump), database=name)
            _hand_over(target)
            with target.cursor() as cursor:
                manifest.compare(cursor, made, name)
                _finish(target, dump, alias)
                cursor.execute("ANALYZE")
    except Error as error:
        raise DatabaseError(one_line(error)) from error
    except Refused as error:
        raise DatabaseError(str(error)) from error
    return made


def _finish(target: Any, dump: Path, source: str) -> None:
    """Have the apps do what they must before anybody uses what was restored; what they say of it is logged."""
    for config in apps.get_app_configs():
        after = getattr(config, "after_restore", None)
        if after and (said := after(target.alias, dump.parent, source)):
            logger.warning("%s", said)


@contextmanager
def other_database(name: str, alias: str) -> Iterator[Any]:
    """A Django connection to another database of the same server, closed afterwards."""
    # Another name each time: two blocks for one database must not close each other's connection.
    other = f"{name} {secrets.token_hex(4)}"
    connections.databases[other] = {**connections[alias].settings_dict, "NAME": name}
    try:
        yield connections[other]
    finally:
        connections[other].close()
        del connections[other]
        del connections.databases[other]


def create_database(name: str, alias: str) -> None:
    """Create an empty database unless it exists.

    From template0, as template1 may hold what a server's owner put there:
    https://www.postgresql.org/docs/current/manage-ag-templatedbs.html
    """
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))


def _require_empty(target: Any) -> None:
    with target.cursor() as cursor:
        tables = target.introspection.table_names(cursor)
    if tables:
        name = target.settings_dict["NAME"]
        raise DatabaseError(
            f"database {name} holds {len(tables)} tables already: restore into an empty one (--into NAME)"
        )


def _create_roles(target: Any, roles: list[str]) -> None:
    """Have the roles that rights are granted to; missing ones can own rights but not log in."""
    with target.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles")
        known = {name for (name,) in cursor.fetchall()}
        for role in roles:
            if role not in known:
                cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))


def _hand_over(target: Any) -> None:
    """Give everything to the owner's role, which the application's rights and the next migration count on."""
    with target.cursor() as cursor:
        cursor.execute(
            "SELECT pg_has_role(owner.oid, 'MEMBER') AND pg_has_role(d.datdba, 'MEMBER')"
            " FROM pg_roles AS owner, pg_database AS d WHERE owner.rolname = %s AND d.datname = current_database()",
            [roles.OWNER],
        )
        if cursor.fetchone() == (True,):
            with transaction.atomic(using=target.alias):
                roles.hand_over(cursor)
