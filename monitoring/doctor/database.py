"""The database: reached, migrated, as defined, with the rights and the clock that the work needs."""

import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from psycopg.errors import InsufficientPrivilege

from billing.stripe import gateway
from billing.stripe.errors import PermanentError, TransientError
from glyphforge.database import connection, installation, migrate, privileges, verify
from glyphforge.database import roles as sql_roles
from glyphforge.database.clock import seconds_behind
from monitoring.doctor.finding import Finding, critical, ok, warning

OLDEST_SERVER = 15
VARIABLES = {
    DEFAULT_DB_ALIAS: "DATABASE_URL",
    connection.MAINTENANCE: "MAINTENANCE_DATABASE_URL",
    "replica": "DATABASE_REPLICA_URL",
}
# A signature of Stripe's is refused from 300 seconds on.
CLOCK_WARNING_SECONDS, CLOCK_CRITICAL_SECONDS = 5, 60


def connections_answer() -> Iterator[Finding]:
    """Each configured connection: database, role, version, round trip."""
    for alias, variable in VARIABLES.items():
        if alias not in connections:
            continue
        try:
            found = connection.probe(alias)
        except connection.DatabaseError as error:
            yield critical(f"{variable}: {error}", f"start PostgreSQL, or correct {variable}")
            continue
        text = f"{variable}: {found.role} at {found.database}, PostgreSQL {found.server_version}, {found.latency_ms} ms"
        old = int(found.server_version.partition(".")[0]) < OLDEST_SERVER
        yield critical(text, f"upgrade the server to PostgreSQL {OLDEST_SERVER} or newer") if old else ok(text)


def migrations() -> Iterator[Finding]:
    """Every migration is applied."""
    if missing := migrate.unapplied():
        text = f"{len(missing)} migrations are not applied, the first is {missing[0]}"
        yield critical(text, "manage.py database init, as the role that owns the tables")
    else:
        yield ok("all applied")


def definitions() -> Iterator[Finding]:
    """The database is what the migrations define."""
    try:
        found = verify.differences(connection.maintenance_alias())
    except DatabaseError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        yield warning("cannot be compared: the role may not create a schema", _MAINTENANCE)
        return
    for difference in found:
        yield warning(str(difference), "manage.py database verify --sql prints what mends it")
    if not found:
        yield ok("as the migrations define it")


_MAINTENANCE = f"set MAINTENANCE_DATABASE_URL=postgresql://{sql_roles.BACKUP}@host:5432/database, around PgBouncer"


def roles() -> Iterator[Finding]:
    """What web and worker, the owner and whoever takes backups may do, and may not."""
    if settings.EMBEDDED_DATABASE:
        yield ok("one superuser, as the demo has it")
        return
    found = privileges.of_all()
    for problem in found:
        yield (critical if problem.critical else warning)(problem.text, problem.remedy)
    if not found:
        yield ok("each role has the rights that its work needs, and no more")


def production() -> Iterator[Finding]:
    """This database was told to be production."""
    if installation.is_production():
        yield ok("this database is production")
    else:
        yield critical(installation.COPY, "manage.py database adopt --apply, if it is to be production")


def pooler() -> Iterator[Finding]:
    """How PgBouncer lends connections, where there is one, and that whole-database work goes around it."""
    mode = _pooling(DEFAULT_DB_ALIAS)
    if mode is None:
        yield ok("DATABASE_URL leads to PostgreSQL itself")
    elif connection.maintenance_alias() == DEFAULT_DB_ALIAS:
        yield critical("backups and comparisons would go through PgBouncer, which mixes sessions", _MAINTENANCE)
    elif mode == "statement":
        yield critical(
            "PgBouncer pools statements, so no transaction holds", "pool_mode = transaction in pgbouncer.ini"
        )
    elif not settings.DATABASES[DEFAULT_DB_ALIAS].get("DISABLE_SERVER_SIDE_CURSORS"):
        yield critical("server-side cursors do not outlive a pooled transaction", "DISABLE_SERVER_SIDE_CURSORS = True")
    else:
        yield ok(f"PgBouncer in {mode} mode")
    if connection.maintenance_alias() != DEFAULT_DB_ALIAS and _pooling(connection.maintenance_alias()):
        yield critical("MAINTENANCE_DATABASE_URL leads to PgBouncer", _MAINTENANCE)


def _pooling(alias: str) -> str | None:
    """`session`, `transaction` or `statement`; None where the connection leads to PostgreSQL itself.

    A pooler gives each client a process number of its own. Where sessions are pooled, each of two clients keeps a
    server process to itself; otherwise they meet in one, or change: https://www.pgbouncer.org/features.html
    """
    # A statement prepared in one server process is unknown in the next.
    parameters = connection.parameters_of(alias) | {"prepare_threshold": None, "autocommit": True}
    with psycopg.connect(**parameters) as one, psycopg.connect(**parameters) as other:
        if _server_process(one) == one.info.backend_pid:
            return None
        try:
            with one.transaction():
                one.execute("SELECT 1")
        except psycopg.Error:
            return "statement"
        seen = {(_server_process(one), _server_process(other)) for _ in range(10)}
        ((first, second), *changed) = seen
        return "transaction" if changed or first == second else "session"


def _server_process(client: psycopg.Connection) -> int:
    row = client.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def clock() -> Iterator[Finding]:
    """This machine's clock beside the database's and Stripe's."""
    apart = {"the database's": seconds_behind()}
    with suppress(TransientError, PermanentError):  # the check of the key tells of it
        begun = time.time()
        _, told_at = gateway.mode_and_time()
        if told_at:
            apart["Stripe's"] = told_at.timestamp() - (begun + time.time()) / 2
    for whose, seconds in apart.items():
        text = f"this machine's clock is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} {whose}"
        if abs(seconds) > CLOCK_WARNING_SECONDS:
            judged = critical if abs(seconds) > CLOCK_CRITICAL_SECONDS else warning
            yield judged(text, "timedatectl set-ntp true, on the machine whose clock is wrong")
    if all(abs(seconds) <= CLOCK_WARNING_SECONDS for seconds in apart.values()):
        yield ok(f"agrees with {' and '.join(apart)}")
