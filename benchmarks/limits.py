"""`python -m benchmarks.limits`: checks of the limit a second, beside Redis; exit 1 when a promise is missed.

Eight clients each, in interleaved rounds on one machine, so only the ratios mean something. Redis counts as much: a
minute and a month, in a Lua script, without writing to disk. Where it is not installed (Debian: redis-server), it is
left out, and what is promised against it too.
"""

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.progress import track
from rich.table import Table

from benchmarks.usage.designs import KEY_ID, USER_ID, USERS, install_product
from benchmarks.usage.loads import moment
from glyphforge.embedded import Server, server
from glyphforge.observability.terminal import print_table, say
from tests.support.waiting import free_port, is_listening, wait_for

VAR = Path(__file__).resolve().parents[1] / "var"
CLIENTS = 8
QUEUED = 60_000
PERMITS = 100
ANY, ONE = f"random(1, {USERS})", "1"
CHECK = "SELECT * FROM check_rate_limit({key});"
SERIALIZABLE, LEASED = "check of one key, serializable", f"permits by leases of {PERMITS}"
LEASE = f"SELECT * FROM lease_rate_limit({{key}}, {PERMITS});"


@dataclass(frozen=True)
class Load:
    """A statement that counts `permits`, of a key by an expression of pgbench; whose requests are queued, as SQL."""

    statement: str
    key: str = ANY
    queued_of: str = ""
    server_options: str = ""
    permits: int = 1


LOADS = {
    "check, nothing queued": Load(CHECK),
    "check, 60,000 queued": Load(CHECK, queued_of=f"1 + n % {USERS}"),
    "check of one key, nothing queued": Load(CHECK, ONE),
    "check of one key, 60,000 queued of its user": Load(CHECK, ONE, queued_of="1"),
    SERIALIZABLE: Load(CHECK, ONE, server_options="-c default_transaction_isolation=serializable"),
    LEASED: Load(LEASE, permits=PERMITS),
}
REDIS = "two counters in Redis"
SCRIPT = """
local minute = redis.call('INCR', KEYS[1])
if minute == 1 then redis.call('EXPIRE', KEYS[1], 60) end
local month = redis.call('INCR', KEYS[2])
if month == 1 then redis.call('EXPIRE', KEYS[2], 2678400) end
return minute <= tonumber(ARGV[1]) and month <= tonumber(ARGV[2])
"""
# (measured, against, at least this ratio)
PROMISES = (
    ("check, 60,000 queued", "check, nothing queued", 0.8),
    ("check of one key, 60,000 queued of its user", "check of one key, nothing queued", 0.8),
    ("check, nothing queued", REDIS, 0.2),
    (LEASED, REDIS, 1.0),
)
MOST_FAILED = 0.01
Results = dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, help="length of one run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each load (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "limits.json", help="where the figures go")
    options = parser.parse_args()

    with_redis = bool(shutil.which("redis-server") and shutil.which("redis-benchmark"))
    if not with_redis:
        say("Redis is not installed, so nothing is compared with it; on Debian: apt install redis-server.")
    postgres = server(VAR / "bench-postgres", options={"max_connections": "60", "shared_buffers": "512MB"})
    postgres.start()
    try:
        _build(postgres)
        failed: list[float] = []
        results: Results = {name: [] for name in (*LOADS, *([REDIS] if with_redis else []))}
        with _redis() if with_redis else nullcontext(0) as port:
            for _ in track(range(options.rounds), "Measuring"):
                for name, load in LOADS.items():
                    rate, share = _measure(postgres, load, options.seconds)
                    results[name].append(rate * load.permits)
                    failed.append(share)
                if with_redis:
                    results[REDIS].append(_measure_redis(port, options.seconds))
    finally:
        postgres.stop()
    return 0 if _publish(results, failed, options.json) else 1


def _build(postgres: Server) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS limits WITH (FORCE)")
        connection.execute("CREATE DATABASE limits")
    with psycopg.connect(postgres.url("limits"), autocommit=True) as connection:
        install_product(connection)
        # Limits that no run reaches.
        connection.execute("UPDATE plans SET rate_limit_per_minute = 2000000000, monthly_request_limit = 2000000000000")
        connection.execute("UPDATE subscriptions SET monthly_request_limit = 2000000000000")
        connection.execute("VACUUM ANALYZE")


def _measure(postgres: Server, load: Load, seconds: int) -> tuple[float, float]:
    """Calls a second, and the share of them that failed."""
    with psycopg.connect(postgres.url("limits"), autocommit=True) as connection:
        connection.execute("TRUNCATE api_usage_deltas, monthly_usage_totals, rate_limits, rate_limit_permits")
        # As on a server where nobody ever used another level than read committed.
        connection.execute("ALTER SEQUENCE rate_limit_permits_seq RESTART")
        if load.queued_of:
            user = USER_ID.format(n=f"({load.queued_of})")
            connection.execute(
                "INSERT INTO api_usage_deltas (user_id, last_request_at, total_response_time_ms, month, total_requests,"
                " failed_requests, max_response_time_ms)"
                f" SELECT {user}, now(), 1, date_trunc('month', now() AT TIME ZONE 'UTC'), 1, 0, 1"
                f" FROM generate_series(1, {QUEUED}) AS n".encode()
            )
        connection.execute("VACUUM ANALYZE api_usage_deltas, rate_limits")
        connection.execute("CHECKPOINT")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set n {load.key}\n{load.statement.format(key=KEY_ID.format(n=':n'))}\n")
        script.flush()
        said = subprocess.run(
            [
                postgres.bindir / "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}",
                f"--jobs={min(CLIENTS, os.cpu_count() or 1)}", f"--time={seconds}", f"--file={script.name}",
                postgres.url("limits"),
            ],
            check=True, capture_output=True, text=True,
            env=os.environ | {"PGOPTIONS": load.server_options},
        ).stdout  # fmt: skip
    rate = re.search(r"tps = ([\d.]+)", said)
    failed = re.search(r"failed transactions: \d+ \(([\d.]+)%\)", said)
    assert rate, said
    return float(rate[1]), float(failed[1]) / 100 if failed else 0.0


@contextmanager
def _redis() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"],
        cwd=tempfile.gettempdir(),
    )  # fmt: skip
    try:
        wait_for(lambda: is_listening(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def _measure_redis(port: int, seconds: int) -> float:
    """Calls a second, over about as many seconds."""
    rate = 0.0
    for requests in (5_000, None):  # the first run says how many the second has to make
        said = subprocess.run(
            [
                "redis-benchmark", "-p", str(port), "-c", str(CLIENTS), "-n", str(requests or round(rate * seconds)),
                "-r", str(USERS), "--csv", "eval", SCRIPT, "2", "minute:__rand_int__", "month:__rand_int__",
                "2000000000", "2000000000000",
            ],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        rate = float(list(csv.reader(said.splitlines()))[-1][1])
    return rate


def _publish(results: Results, failed: list[float], path: Path) -> bool:
    rates = {name: statistics.median(measured) for name, measured in results.items()}
    table = Table("load", title=f"Limits, {CLIENTS} clients", title_justify="left")
    table.add_column("a second", justify="right")
    table.add_column("of Redis", justify="right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / rates[REDIS]:.2f}" if REDIS in rates else "")
    print_table(sys.stdout, table)

    verdicts = {}
    for name, against, least in PROMISES:
        if against in rates:
            # The median over the rounds, each compared with its neighbour in time.
            ratio = statistics.median(a / b for a, b in zip(results[name], results[against], strict=True))
            verdicts[f"{name}: {ratio:.2f} of {against}, at least {least} promised"] = ratio >= least
    share = max(failed)
    verdicts[f"{share:.2%} of a load failed, at most {MOST_FAILED:.0%} promised"] = share <= MOST_FAILED
    for text, kept in verdicts.items():
        say(f"{'kept  ' if kept else 'MISSED'} {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"measured_at": moment(), "a second": rates, "targets": verdicts}
    path.write_text(json.dumps(document, indent=2) + "\n")
    say(f"Written to {path}")
    return all(verdicts.values())


if __name__ == "__main__":
    sys.exit(main())
