"""SQL as jobs: each statement in a transaction of its own, with a time limit that the server enforces."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, transaction
from psycopg.errors import Diagnostic

from glyphforge.audit.masking import mask
from glyphforge.database.connection import retention_alias
from glyphforge.errors import LeftOut
from monitoring.jobs.deadline import remaining_seconds
from monitoring.jobs.outcome import JobFailed, Outcome
from monitoring.jobs.plain_error import plain_error

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]

# Of what a server says of one statement so much is kept.
LISTED = 1000


@dataclass
class Said:
    """What the server said meanwhile: a warning names what was left out, a notice what one should know."""

    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __call__(self, message: Diagnostic) -> None:
        """Keep the message, once: https://www.psycopg.org/psycopg3/docs/advanced/async.html#server-messages"""
        told = {"WARNING": self.warnings, "NOTICE": self.notices}.get(message.severity_nonlocalized or "")
        text = mask(" ".join(filter(None, (message.message_primary, message.message_hint))))
        if told is not None and text not in told and len(told) < LISTED:
            told.append(text)


@contextmanager
def listening(alias: str = DEFAULT_DB_ALIAS) -> Iterator[Said]:
    """Yields what the server says within the block."""
    connections[alias].ensure_connection()
    server, said = connections[alias].connection, Said()
    server.add_notice_handler(said)
    try:
        yield said
    finally:
        server.remove_notice_handler(said)


def query(statement: str, *parameters: str | int, alias: str = DEFAULT_DB_ALIAS) -> Rows:
    """Run one statement in one transaction; returns its rows as dictionaries by column.

    Its time limit is what is left of the job's, enforced by the server:
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT
    """
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        if (seconds := remaining_seconds()) is not None:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(seconds * 1000) + 1}ms"])
        cursor.execute(statement, parameters or None)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def number(rows: Rows) -> int:
    """The one value of the one row."""
    ((value,),) = (row.values() for row in rows)
    return int(value)


@dataclass(frozen=True)
class Step:
    """A statement as a part of a job; `count` makes its figure of the rows that come back: `number`, or `len`."""

    name: str
    sql: str
    count: Callable[[Rows], int] = number

    @property
    def alias(self) -> str:
        """The connection that the statement needs."""
        return DEFAULT_DB_ALIAS

    def run(self) -> int:
        """Run the statement; returns its figure, and raises what the database raises."""
        return self.count(query(self.sql, alias=self.alias))


@dataclass(frozen=True)
class Retention(Step):
    """A step that removes what nobody else may remove."""

    @property
    def alias(self) -> str:
        """The connection of `RETENTION_DATABASE_URL`, where there is one."""
        return retention_alias()


@dataclass(frozen=True)
class Partitions:
    """A step that makes the monthly partitions of a table; its figure is how many.

    This month and three ahead come first, in a transaction of their own. Then come months that have rows in the default
    partition, a few a transaction, so that no writer waits for many, and as long as half of the job's time is left.
    """

    name: str
    table: str

    def run(self) -> int:
        """Make them; whatever becomes of the months ahead, the others are made."""
        try:
            made = self._make(months=3, strays=0)
        finally:
            strays = self._drain()
        return made + strays

    def _drain(self) -> int:
        strays = 0
        until = (remaining_seconds() or 0) / 2
        while made := self._make(months=0, strays=6):
            strays += made
            if (remaining_seconds() or 0) < until:
                break
        return strays

    def _make(self, *, months: int, strays: int) -> int:
        return len(query("SELECT * FROM create_monthly_partitions(%s, %s, %s)", self.table, months, strays))


@dataclass(frozen=True)
class Vacuum:
    """A step that vacuums and analyses tables with their partitions; its figure is the number of tables."""

    name: str
    tables: tuple[str, ...]

    def run(self) -> int:
        """Vacuum one table after another; inside a transaction, which forbids it, nothing is done.

        A table that is locked, or that the role may not vacuum, is passed over without a word:
        https://www.postgresql.org/docs/current/sql-vacuum.html
        """
        if connection.in_atomic_block:
            return 0
        with connection.cursor() as cursor:
            for table in self.tables:
                cursor.execute(f"VACUUM (ANALYZE, SKIP_LOCKED) {connection.ops.quote_name(table)}")
        return len(self.tables)


def run_number(statement: str) -> Outcome:
    """Run a statement that returns one number, which becomes `rows`. Fails when it left something out."""
    with listening() as said:
        outcome = Outcome(rows=number(query(statement)))
    return _complete(outcome, said)


def run_listing(statement: str) -> Outcome:
    """Run a statement that returns the rows that it changed.

    The first 100 are kept in the detail under `rows`, their values as text. Fails when it left something out.
    """
    with listening() as said:
        rows = query(statement)
    detail = {"rows": [{k: str(v) for k, v in row.items()} for row in rows[:100]]}
    return _complete(Outcome(rows=len(rows), detail=detail), said)


def _complete(outcome: Outcome, said: Said) -> Outcome:
    if said.warnings:
        raise JobFailed(str(LeftOut(said.warnings, done=outcome.rows)), outcome)
    return outcome


def run_steps(*steps: Step | Partitions | Vacuum) -> Outcome:
    """Run one step after another: one that fails in the database neither stops nor undoes the others.

    It fails the job in the end, with JobFailed, and so does a step that says in a WARNING of the server what it could
    not do. `rows` is the sum of the steps' figures; the detail says by a step's name `status`, `rows`, `error`,
    `notices` (the server's) and `duration_ms`. Any other exception ends the job at once.
    """
    detail: dict[str, Any] = {}
    failed: list[str] = []
    rows = 0
    for step in steps:
        started = time.monotonic()
        report: dict[str, Any] = {"status": "ok"}
        problems: list[str] = []
        with listening(getattr(step, "alias", DEFAULT_DB_ALIAS)) as said:
            try:
                report["rows"] = step.run()
                rows += report["rows"]
            except Error as error:
                logger.warning("Step %s failed", step.name, exc_info=True)
                problems.append(plain_error(error))
        # VACUUM warns of what it passes over.
        if said.warnings and not isinstance(step, Vacuum):
            problems.insert(0, str(LeftOut(said.warnings, done=report.get("rows", 0))))
        if problems:
            report |= {"status": "failed", "error": "; ".join(problems)}
            failed.append(f"{step.name}: {report['error']}")
        if said.notices:
            report["notices"] = said.notices[:20]
        detail[step.name] = report | {"duration_ms": round((time.monotonic() - started) * 1000)}
    outcome = Outcome(rows=rows, detail=detail)
    if failed:
        raise JobFailed("; ".join(failed), outcome)
    return outcome
