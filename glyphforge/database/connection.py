"""How the server is reached, by Django and by PostgreSQL's own programs."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections

from glyphforge.embedded.binaries import with_client

MAINTENANCE = "maintenance"
RETENTION = "retention"
# How Django uses a connection, not where it leads.
DJANGOS_OWN = {"cursor_factory", "context", "pool", "prepare_threshold"}
# A host that drops packets would else hold up who only asks for minutes:
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-CONNECT-TIMEOUT
CONNECT_SECONDS = 2
# Django's DATABASES entry to libpq's environment: passwords never appear in a list of processes.
VARIABLES = {"HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER", "PASSWORD": "PGPASSWORD"}
OPTION_VARIABLES = {
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


class DatabaseError(Exception):
    """An operation on the database failed; the message is one line for a human."""


@dataclass(frozen=True)
class Probe:
    """What `database test` found."""

    database: str
    role: str
    server_version: str
    latency_ms: float


def probe(alias: str = "default") -> Probe:
    """Connect and measure one round trip; raises DatabaseError with one line when that is not possible."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_database(), current_user, current_setting('server_version')")
            database, role, version = cursor.fetchone()
            begun = time.perf_counter()
            cursor.execute("SELECT 1")
            latency = (time.perf_counter() - begun) * 1000
    except Error as error:
        raise DatabaseError(one_line(error)) from error
    return Probe(database, role, version, round(latency, 2))


def parameters_of(alias: str) -> dict[str, Any]:
    """What `psycopg.connect` takes for a connection beside Django's, to the same database as the same role."""
    parameters: dict[str, Any] = connections[alias].get_connection_params()
    return {name: value for name, value in parameters.items() if name not in DJANGOS_OWN}


def takes_a_connection(alias: str) -> bool:
    """Whether the server of `alias` takes a new connection within two seconds."""
    try:
        psycopg.connect(**parameters_of(alias) | {"connect_timeout": CONNECT_SECONDS}).close()
    except psycopg.OperationalError:
        return False
    return True


def maintenance_alias() -> str:
    """The connection for what works on the whole database: that of `MAINTENANCE_DATABASE_URL`, else the usual one."""
    return MAINTENANCE if MAINTENANCE in connections else DEFAULT_DB_ALIAS


def retention_alias() -> str:
    """The connection for what removes old rows for good: that of `RETENTION_DATABASE_URL`, else the usual one."""
    return RETENTION if RETENTION in connections else DEFAULT_DB_ALIAS


def one_line(error: object) -> str:
    """An error's text without its line breaks."""
    return " ".join(str(error).split())


def environment(alias: str, database: str | None = None) -> dict[str, str]:
    """The process environment with which libpq's programs reach this connection's server.

    `database` names another one of that server. The caller's own PG* variables are left out. What they mean:
    https://www.postgresql.org/docs/current/libpq-envars.html
    """
    settings = connections[alias].settings_dict
    result = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    result.update({variable: str(settings[key]) for key, variable in VARIABLES.items() if settings.get(key)})
    options = settings.get("OPTIONS", {})
    result.update({variable: str(options[key]) for key, variable in OPTION_VARIABLES.items() if options.get(key)})
    result["PGDATABASE"] = database or str(settings["NAME"])
    result["PGAPPNAME"] = "glyphforge database"
    return result


def program(name: str, alias: str) -> Path:
    """pg_dump or pg_restore of a version that fits the server: the same, else the next newer one.

    Raises DatabaseError when there is none, as an older pg_dump refuses a newer server:
    https://www.postgresql.org/docs/current/app-pgdump.html
    """
    server = connections[alias].cursor().connection.info.server_version // 10000
    fitting = [each for each in with_client(name) if each.major >= server]
    if not fitting:
        raise DatabaseError(f"no {name} of PostgreSQL {server} or newer on this machine: install that version's client")
    return min(fitting, key=lambda each: each.major).bindir / name
