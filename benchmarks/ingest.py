"""`python -m benchmarks.ingest`: requests a second for minutes, with and without what folds them; exit 1 on a miss.

Writers insert as fast as they can. Once nobody folds, once the job `rollup` runs as it is scheduled, each minute.
What is not folded when they stop is given in seconds of their traffic. Views are read meanwhile. Then the rest is
folded, and both sums must be the number of rows.
"""

import argparse
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from rich.table import Table

from benchmarks.usage.designs import KEY_ID, USER_ID, USERS
from benchmarks.usage.loads import LOADS, Load, moment, pgbench
from glyphforge.embedded import Server, server
from glyphforge.observability.terminal import print_table, say
from tests.support import bulk

ROOT = Path(__file__).resolve().parents[1]
VAR = ROOT / "var"
DATABASE = "ingest"
MEASURED = [load for load in LOADS if load.name in ("single insert, 32 clients", "batches of 1000, 8 clients")]
VIEWS = ("v_high_volume_users", "v_slow_endpoints", "v_api_usage_trends", "v_users_near_limit")
MINUTE = 60
# The job begins within seconds of its minute: the scheduler looks for what is due so often.
LATE_SECONDS = 3
RATE, BACKLOG_SECONDS, VIEW_MS = 0.75, 5, 1000


@dataclass
class Run:
    """One run of a load: what was inserted, what was left to fold at its end, and each view's slowest answer."""

    rows: int
    seconds: float
    left: int
    view_ms: dict[str, float]

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def backlog_seconds(self) -> float:
        return self.left / self.rate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150, help="length of one run (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "ingest.json", help="where the figures go")
    options = parser.parse_args()

    postgres = server(
        VAR / "bench-postgres", options={"max_connections": "60", "shared_buffers": "512MB", "max_wal_size": "4GB"}
    )
    postgres.start()
    try:
        _build(postgres)
        results: dict[str, dict[str, Run]] = {}
        for load in MEASURED:
            for name, folding in (("not folded", False), ("folded", True)):
                say(f"{load.name}, {name}: {options.seconds:.0f} seconds …")
                results.setdefault(load.name, {})[name] = _measure(postgres, load, options.seconds, folding=folding)
    finally:
        from django.db import connections

        connections.close_all()
        postgres.stop()
    return 0 if _publish(results, options.json) else 1


def _build(postgres: Server) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "glyphforge.settings",
        "DATABASE_URL": postgres.url(DATABASE),
        "DJANGO_DEBUG": "false",
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, check=True)
    import django

    django.setup()
    logging.disable(logging.WARNING)
    with psycopg.connect(postgres.url(DATABASE), autocommit=True) as connection:
        bulk.customers(connection, USERS, id=USER_ID.format(n="n"))
        bulk.of_each_customer(connection, "api_keys", id=KEY_ID.format(n="n"))


def _measure(postgres: Server, load: Load, seconds: float, *, folding: bool) -> Run:
    with psycopg.connect(postgres.url(DATABASE), autocommit=True) as connection:
        _fold_all(connection)
        before = _counts(connection)
        connection.execute("CHECKPOINT")
        with _folding(enabled=folding), _reading(postgres) as slowest:
            inserted = len(pgbench(postgres, postgres.url(DATABASE), load, seconds)) * load.rows
            left = _left(connection)
        _fold_all(connection)
        for name, count in _counts(connection).items():
            if count - before[name] != inserted:
                raise SystemExit(f"{inserted} rows were inserted, and {name} counts {count - before[name]}.")
    return Run(inserted, seconds, left, slowest)


@contextmanager
def _folding(*, enabled: bool) -> Iterator[None]:
    """The job, at the beginning of each minute, as the scheduler has it."""
    from django.db import connection

    from monitoring.jobs.functions.folding import fold_until_caught_up

    done = threading.Event()

    def run() -> None:
        started = time.monotonic()
        while not done.is_set():
            fold_until_caught_up()
            elapsed = time.monotonic() - started
            done.wait(MINUTE - elapsed % MINUTE + LATE_SECONDS)
        connection.close()

    thread = threading.Thread(target=run)
    if enabled:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if enabled:
            thread.join()


@contextmanager
def _reading(postgres: Server) -> Iterator[dict[str, float]]:
    """Each view's slowest answer in milliseconds while the block runs, read every five seconds."""
    slowest = dict.fromkeys(VIEWS, 0.0)
    done = threading.Event()

    def read() -> None:
        with psycopg.connect(postgres.url(DATABASE), autocommit=True) as connection:
            while not done.wait(5):
                for view in VIEWS:
                    started = time.perf_counter()
                    connection.execute(f"SELECT * FROM {view} LIMIT 100").fetchall()
                    slowest[view] = max(slowest[view], (time.perf_counter() - started) * 1000)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield slowest
    finally:
        done.set()
        thread.join()


def _left(connection: psycopg.Connection) -> int:
    """The requests that are not folded: those of the queue or of the traffic tables, whichever are more."""
    return _one(
        connection,
        "SELECT greatest((SELECT coalesce(sum(total_requests), 0) FROM api_usage_deltas),"
        " (SELECT s.last_value - p.folded_to FROM api_usage_id_seq AS s, traffic_progress AS p))",
    )


def _fold_all(connection: psycopg.Connection) -> None:
    connection.execute("SELECT roll_up_usage()")
    while _one(connection, "SELECT fold_traffic()"):
        pass


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    sums = {"monthly_usage_totals": "total_requests", "traffic_days": "requests"}
    return {
        table: _one(connection, f"SELECT coalesce(sum({column}), 0) FROM {table}") for table, column in sums.items()
    }


def _one(connection: psycopg.Connection, statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    assert row
    return int(row[0])


def _publish(results: dict[str, dict[str, Run]], path: Path) -> bool:
    """Prints the table, writes the JSON file and returns whether every promise was kept."""
    table = Table(title="Requests a second, for minutes", title_justify="left")
    for heading in ("load", "not folded", "folded", "ratio", "left, s", "slowest view, ms"):
        table.add_column(heading, justify="left" if heading == "load" else "right")
    verdicts: dict[str, bool] = {}
    for load, runs in results.items():
        bare, ours = runs["not folded"], runs["folded"]
        ratio, slowest = ours.rate / bare.rate, max(ours.view_ms.values())
        figures = (
            f"{bare.rate:,.0f}",
            f"{ours.rate:,.0f}",
            f"{ratio:.2f}",
            f"{ours.backlog_seconds:.1f}",
            f"{slowest:.0f}",
        )
        table.add_row(load, *figures)
        verdicts |= {
            f"{load}: {ratio:.2f} of the rate without folding, {RATE} promised": ratio >= RATE,
            f"{load}: {ours.backlog_seconds:.1f} s of traffic left, {BACKLOG_SECONDS} promised": ours.backlog_seconds
            <= BACKLOG_SECONDS,
            f"{load}: views within {slowest:.0f} ms, {VIEW_MS} promised": slowest <= VIEW_MS,
        }
    print_table(sys.stdout, table)
    for text, kept in verdicts.items():
        say(f"{'kept  ' if kept else 'MISSED'} {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = {load: {name: asdict(run) for name, run in runs.items()} for load, runs in results.items()}
    kept = all(verdicts.values())
    path.write_text(json.dumps({"measured_at": moment(), "loads": measured, "kept": kept}, indent=2) + "\n")
    say(f"Written to {path}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
