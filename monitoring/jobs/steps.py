"""SQL as jobs: each statement in a transaction of its own, with a time limit that the server enforces."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import Error, connection, transaction

from glyphforge.audit.masking import mask
from monitoring.jobs.deadline import remaining_seconds
from monitoring.jobs.outcome import JobFailed, Outcome

Rows = list[dict[str, Any]]


def query(statement: str) -> Rows:
    """Run one statement in one transaction; returns its rows as dictionaries by column.

    Its time limit is what is left of the job's, enforced by the server:
    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-STATEMENT-TIMEOUT
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if (seconds := remaining_seconds()) is not None:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(seconds * 1000) + 1}ms"])
        cursor.execute(statement)
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

    def run(self) -> int:
        """Run the statement; returns its figure, and raises what the database raises."""
        return self.count(query(self.sql))


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
    """Run a statement that returns one number, which becomes `rows`."""
    return Outcome(rows=number(query(statement)))


def run_listing(statement: str) -> Outcome:
    """Run a statement that returns the rows that it changed.

    The first 100 are kept in the detail under `rows`, their values as text.
    """
    rows = query(statement)
    return Outcome(rows=len(rows), detail={"rows": [{k: str(v) for k, v in row.items()} for row in rows[:100]]})


def run_steps(*steps: Step | Vacuum) -> Outcome:
    """Run one step after another: one that fails in the database neither stops nor undoes the others.

    It fails the job in the end, with JobFailed. `rows` is the sum of the steps' figures; the detail says by a step's
    name `status`, `rows` or `error`, and `duration_ms`. Any other exception ends the job at once.
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
        except Error as error:
            message = mask(str(error).strip().partition("\n")[0])
            report = {"status": "failed", "error": message}
            failed.append(f"{step.name}: {message}")
        detail[step.name] = report | {"duration_ms": round((time.monotonic() - started) * 1000)}
    outcome = Outcome(rows=rows, detail=detail)
    if failed:
        raise JobFailed("; ".join(failed), outcome)
    return outcome
