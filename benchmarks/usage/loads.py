"""The loads: what is thrown at a design, and what one run of it measured."""

import os
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.usage.designs import KEY_ID, USER_ID, USERS
from glyphforge.embedded import Server

_COLUMNS = "(user_id, api_key_id, endpoint, method, status_code, response_time_ms)"


def _values(number: str, status: str, milliseconds: str) -> str:
    return f"{USER_ID.format(n=number)}, {KEY_ID.format(n=number)}, '/v1/render', 'POST', {status}, {milliseconds}"


def _single(choose: str = "") -> str:
    return (
        f"\\set user random(1, {USERS})\n{choose}\\set status 200 + 100 * random(0, 3)\n\\set ms random(1, 900)\n"
        f"INSERT INTO api_usage {_COLUMNS} VALUES ({_values(':user', ':status', ':ms')});\n"
    )


def _batch(rows: int) -> str:
    return (
        f"INSERT INTO api_usage {_COLUMNS} SELECT {_values('r.n', '200 + 100 * (r.n % 4)', 'r.n')}"
        f" FROM (SELECT 1 + floor(random() * {USERS})::int AS n FROM generate_series(1, {rows})) AS r;\n"
    )


# Half of the traffic comes from one user.
_HOT = "\\set hot random(0, 1)\n\\if :hot\n\\set user 1\n\\endif\n"
# A flush on a real disk takes about this long.
_DISK = "-c commit_delay=1000 -c commit_siblings=0"


@dataclass(frozen=True)
class Load:
    """`rows` a statement from `clients` sessions; or, without clients, a COPY."""

    name: str
    script: str = ""
    clients: int = 0
    rows: int = 1
    server_options: str = ""


LOADS = (
    Load("single insert, 1 client", _single(), clients=1),
    Load("single insert, 8 clients", _single(), clients=8),
    Load("single insert, 32 clients", _single(), clients=32),
    Load("hot user, 32 clients", _single(_HOT), clients=32),
    Load("hot user, 32 clients, 1 ms disk", _single(_HOT), clients=32, server_options=_DISK),
    Load("batches of 100, 8 clients", _batch(100), clients=8, rows=100),
    Load("batches of 1000, 8 clients", _batch(1000), clients=8, rows=1000),
    Load("COPY of 100,000 rows", rows=100_000),
)


@dataclass
class Run:
    """What one run measured."""

    rows: int
    seconds: float
    latencies_ms: list[float]
    deadlocks: int
    wal_bytes: int
    backend_bytes: int

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def measure(server: Server, design: str, load: Load, seconds: float) -> Run:
    """Runs the load once; fails when the design lost count of a row."""
    # A tenth is enough to see how slow a COPY is that updates a shared row for each of its own.
    rows = load.rows // 10 if design == "naive" and not load.clients else load.rows
    with psycopg.connect(server.url(design), autocommit=True) as watch, _folding(server, design):
        deadlocks, wal = _deadlocks(watch), _wal(watch)
        with _memory(watch) as peak:
            started = time.monotonic()
            latencies = (
                pgbench(server, server.url(design), load, seconds) if load.clients else [_copy(server, design, rows)]
            )
            elapsed = time.monotonic() - started
        run = Run(
            rows=len(latencies) * rows,
            # pgbench connects before its clock starts; its last transactions end after it.
            seconds=seconds if load.clients else elapsed,
            latencies_ms=latencies,
            deadlocks=_deadlocks(watch) - deadlocks,
            wal_bytes=_wal(watch) - wal,
            backend_bytes=peak[0],
        )
        _check_count(watch, design)
    return run


def pgbench(server: Server, url: str, load: Load, seconds: float) -> list[float]:
    """Throws the load at the database for so long; returns the milliseconds of each of its transactions."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.sql"
        script.write_text(load.script)
        subprocess.run(
            [
                server.bindir / "pgbench", "--no-vacuum", "--protocol=prepared", "--max-tries=100",
                f"--client={load.clients}", f"--jobs={min(load.clients, os.cpu_count() or 1)}", f"--time={seconds:.0f}",
                f"--file={script}", "--log", f"--log-prefix={folder}/log", url,
            ],
            check=True, capture_output=True, env=os.environ | {"PGOPTIONS": load.server_options},
        )  # fmt: skip
        # Each line: client, transaction, microseconds, …; a transaction given up has a word there.
        fields = (line.split() for log in Path(folder).glob("log*") for line in log.read_text().splitlines())
        return [int(field[2]) / 1000 for field in fields if field[2].isdigit()]


def _copy(server: Server, design: str, rows: int) -> float:
    numbers = random.Random(1)
    lines = []
    for _ in range(rows):
        user = numbers.randint(1, USERS)
        lines.append(
            f"00000000-0000-4000-8000-{user:012}\t00000000-0000-4000-9000-{user:012}\t/v1/render\tPOST\t200\t{user}\n"
        )
    data = "".join(lines).encode()
    started = time.monotonic()
    with psycopg.connect(server.url(design)) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY api_usage {_COLUMNS} FROM STDIN") as copy:
            copy.write(data)
        connection.commit()
    return (time.monotonic() - started) * 1000


@contextmanager
def _folding(server: Server, design: str) -> Iterator[None]:
    """Ours is measured together with its fold, far more often than the schedule's once a minute."""
    done = threading.Event()

    def fold() -> None:
        with psycopg.connect(server.url(design), autocommit=True) as connection:
            while not done.wait(1):
                connection.execute("SELECT roll_up_usage()")

    thread = threading.Thread(target=fold)
    if design == "ours":
        thread.start()
    try:
        yield
    finally:
        done.set()
        if design == "ours":
            thread.join()


@contextmanager
def _memory(watch: psycopg.Connection) -> Iterator[list[int]]:
    """The largest private memory of a session seen while the block runs; 0 where there is no /proc."""
    peak = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.25):
            pids = watch.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
            peak[0] = max([peak[0], *(_private_bytes(pid) for (pid,) in pids)])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _private_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def _deadlocks(watch: psycopg.Connection) -> int:
    watch.execute("SELECT pg_stat_clear_snapshot()")
    row = watch.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return int(row[0]) if row else 0


def _wal(watch: psycopg.Connection) -> int:
    row = watch.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return int(row[0]) if row else 0


def _check_count(watch: psycopg.Connection, design: str) -> None:
    if design not in {"naive", "ours"}:
        return
    row = watch.execute(
        "SELECT (SELECT count(*) FROM api_usage), (SELECT coalesce(sum(total_requests), 0) FROM monthly_usage_summary)"
    ).fetchone()
    if row is None or row[0] != row[1]:
        raise SystemExit(f"{design} lost count: {row}")


def moment() -> str:
    """When a report was made, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
