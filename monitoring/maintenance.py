"""SQL functions as jobs: each statement in a transaction of its own, with a time limit that the server enforces."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from django.db import Error, connection, transaction

from glyphforge.masking import mask
from monitoring.deadline import remaining_seconds
from monitoring.outcome import JobFailed, Outcome

Rows = list[dict[str, Any]]


def query(statement: str) -> Rows:
    """Runs one statement in one transaction; its time limit is what is left of the job's."""
    with transaction.atomic(), connection.cursor() as cursor:
        if (seconds := remaining_seconds()) is not None:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(seconds * 1000) + 1}ms"])
        cursor.execute(statement)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def counting(statement: str) -> Callable[[], Outcome]:
    """A job that calls a function which returns a number."""

    def run() -> Outcome:
        return Outcome(rows=next(iter(query(statement)[0].values())))

    return run


def listing(statement: str) -> Callable[[], Outcome]:
    """A job that calls a function which returns the rows that it changed; the first 100 are kept in the detail."""

    def run() -> Outcome:
        rows = query(statement)
        return Outcome(rows=len(rows), detail={"rows": [{k: str(v) for k, v in row.items()} for row in rows[:100]]})

    return run


def steps(named: Mapping[str, Callable[[], int]]) -> Callable[[], Outcome]:
    """A job of several steps: a failing one neither stops nor undoes the others, and fails the job in the end."""

    def run() -> Outcome:
        detail: dict[str, Any] = {}
        failed: list[str] = []
        rows = 0
        for name, step in named.items():
            started = time.monotonic()
            report: dict[str, Any] = {"status": "ok"}
            try:
                report["rows"] = step()
                rows += report["rows"]
            except Error as error:
                message = mask(str(error).strip().partition("\n")[0])
                report = {"status": "failed", "error": message}
                failed.append(f"{name}: {message}")
            detail[name] = report | {"duration_ms": round((time.monotonic() - started) * 1000)}
        outcome = Outcome(rows=rows, detail=detail)
        if failed:
            raise JobFailed("; ".join(failed), outcome)
        return outcome

    return run


def number(statement: str) -> Callable[[], int]:
    """A step that calls a function which returns a number."""
    return lambda: counting(statement)().rows


def row_count(statement: str) -> Callable[[], int]:
    """A step that runs a statement; its figure is the number of rows that come back."""
    return lambda: len(query(statement))


def vacuum(*tables: str) -> Callable[[], int]:
    """A step that vacuums and analyses tables with their partitions; skipped inside a transaction, which forbids it."""

    def run() -> int:
        if connection.in_atomic_block:
            return 0
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"VACUUM (ANALYZE, SKIP_LOCKED) {connection.ops.quote_name(table)}")
        return len(tables)

    return run
