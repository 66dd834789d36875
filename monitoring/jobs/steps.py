"""SQL as jobs: each statement in a transaction of its own, with a time limit that the server enforces."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import Error, connection, transaction
from psycopg.errors import Diagnostic

from glyphforge.audit.masking import mask
from glyphforge.errors import LeftOut
from monitoring.jobs.deadline import remaining_seconds
from monitoring.jobs.outcome import JobFailed, Outcome

Rows = list[dict[str, Any]]


# How our functions name, in a warning, the row that they could not do and that kept no other.
LEFT_OUT = ": left out "


def query(statement: str) -> tuple[Rows, list[str]]:
    """Run one statement in one transaction; returns its rows as dictionaries by column, and what it left out.

    Its time limit is what is left of the job's, enforced by the server:
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT
    """
    left: list[str] = []

    def note(diagnostic: Diagnostic) -> None:
        if LEFT_OUT in (message := diagnostic.message_primary or ""):
            left.append(mask(message))

    with transaction.atomic(), connection.cursor() as cursor:
        if (seconds := remaining_seconds()) is not None:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(seconds * 1000) + 1}ms"])
        connection.connection.add_notice_handler(note)
        try:
            cursor.execute(statement)
        finally:
            connection.connection.remove_notice_handler(note)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()], left


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

    def run(self) -> int:
        """Run the statement; returns its figure. Raises what the database raises, and LeftOut with what it left out."""
        rows, left = query(self.sql)
        if left:
            raise LeftOut(left, done=self.count(rows))
        return self.count(rows)


@dataclass(frozen=True)
class Vacuum:
    """A step that vacuums and analyses tables with their partitions; its figure is the number of tables."""

    name: str
    tables: tuple[str, ...]

    def run(self) -> int:
        """Vacuum one table after another; inside a transaction, which forbids it, nothing is done.

        A table that is locked is passed over: https://www.postgresql.org/docs/current/sql-vacuum.html
        """
        if connection.in_atomic_block:
            return 0
        with connection.cursor() as cursor:
            for table in self.tables:
                cursor.execute(f"VACUUM (ANALYZE, SKIP_LOCKED) {connection.ops.quote_name(table)}")
        return len(self.tables)


def run_number(statement: str) -> Outcome:
    """Run a statement that returns one number, which becomes `rows`. Fails when it left something out."""
    rows, left = query(statement)
    return _complete(Outcome(rows=number(rows)), left)


def run_listing(statement: str) -> Outcome:
    """Run a statement that returns the rows that it changed.

    The first 100 are kept in the detail under `rows`, their values as text. Fails when it left something out.
    """
    rows, left = query(statement)
    detail = {"rows": [{k: str(v) for k, v in row.items()} for row in rows[:100]]}
    return _complete(Outcome(rows=len(rows), detail=detail), left)


def _complete(outcome: Outcome, left: list[str]) -> Outcome:
    if left:
        raise JobFailed(str(LeftOut(left, done=outcome.rows)), outcome)
    return outcome


def run_steps(*steps: Step | Vacuum) -> Outcome:
    """Run one step after another: one that fails in the database neither stops nor undoes the others.

    It fails the job in the end, with JobFailed, as one does that left something out. `rows` is the sum of the steps'
    figures; the detail says by a step's name `status`, `rows` or `error`, and `duration_ms`. Any other exception ends
    the job at once.
    """
    detail: dict[str, Any] = {}
    failed: list[str] = []
    rows = 0
    for step in steps:
        started = time.monotonic()
        report: dict[str, Any] = {"status": "ok"}
        try:
            report["rows"] = step.run()
            rows += report["rows"]
        except LeftOut as error:
            rows += error.done
            report = {"status": "failed", "rows": error.done, "error": str(error)}
        except Error as error:
            report = {"status": "failed", "error": mask(str(error).strip().partition("\n")[0])}
        if "error" in report:
            failed.append(f"{step.name}: {report['error']}")
        detail[step.name] = report | {"duration_ms": round((time.monotonic() - started) * 1000)}
    outcome = Outcome(rows=rows, detail=detail)
    if failed:
        raise JobFailed("; ".join(failed), outcome)
    return outcome
