"""`python -m benchmarks.backfill`: measure, print, write var/benchmarks/backfill.json; exit 1 for a missed promise.

The promises, for an account of 20,000 customers (--customers) at a local Stripe: fewer than 0.2 requests a customer,
and no more memory than a tenth of the customers took. Beside it the naive way, which asks for each customer's objects:
`reconcile_stripe --apply` on an account of --naive customers.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from rich.table import Table

from demo.stripe.large import LargeWorld
from demo.stripe.server import StripeServer
from glyphforge.embedded import Server, server
from glyphforge.observability.terminal import print_table, progress, say

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
REQUESTS_A_CUSTOMER = 0.2
GROWTH_MB = 40
POLL_SECONDS = 0.2


@dataclass
class Cost:
    """What a command took for so many customers; memory is the most that its process held for itself."""

    customers: int
    requests: int
    seconds: float
    memory_mb: float

    @property
    def requests_a_customer(self) -> float:
        return self.requests / self.customers

    @property
    def customers_a_second(self) -> float:
        return self.customers / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20_000, help="to take over (default %(default)s)")
    parser.add_argument("--naive", type=int, default=50, help="customers of the naive way (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "backfill.json", help="where the figures go")
    options = parser.parse_args()
    postgres = server(VAR / "bench-postgres", options={"max_connections": "60", "max_wal_size": "4GB"})
    postgres.start()
    try:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "glyphforge.settings",
            "DATABASE_URL": postgres.url("backfill_template"),
            "DJANGO_DEBUG": "false",
            "STRIPE_TEST_SECRET_KEY": f"sk_test_{secrets.token_hex(16)}",
        }
        _make_template(postgres)
        takeover = ("backfill_stripe", "--apply", "--rate", "1000")
        naive = ("reconcile_stripe", "--apply", "--budget", "1000000")
        costs = {
            "a tenth": _measure(postgres, options.customers // 10, *takeover),
            "takeover": _measure(postgres, options.customers, *takeover),
            "one by one": _measure(postgres, options.naive, *naive),
        }
    finally:
        postgres.stop()
    return 0 if publish(costs, options.json) else 1


def _make_template(postgres: Server) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = 'backfill_template'").rowcount:
            connection.execute("CREATE DATABASE backfill_template")
    say("Migrating; the first time it takes most of a minute …")
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, check=True)


def _measure(postgres: Server, customers: int, *command: str) -> Cost:
    """Run the command on an empty database, beside an account of so many customers."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS backfill WITH (FORCE)")
        connection.execute(sql.SQL("CREATE DATABASE backfill TEMPLATE backfill_template"))
    log = VAR / "benchmarks" / f"{command[0]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    memory, begun = 0.0, time.perf_counter()
    with StripeServer(LargeWorld(customers)) as stripe, log.open("w") as output:
        settings = os.environ | {"STRIPE_API_HOST": stripe.url, "DATABASE_URL": postgres.url("backfill")}
        arguments = [sys.executable, "manage.py", *command]
        process = subprocess.Popen(arguments, cwd=ROOT, env=settings, stdout=output, stderr=output)
        seen = psutil.Process(process.pid)
        with progress(f"{command[0]}, {customers:,} customers", None) as advance:
            done = 0
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                try:
                    memory = max(memory, seen.memory_full_info().uss / 1e6)
                except psutil.NoSuchProcess:
                    break
                advance(len(stripe.requests) - done, f"requests, {memory:.0f} MB")
                done = len(stripe.requests)
        if process.wait():
            raise SystemExit(f"{command[0]} failed; see {log}")
        return Cost(customers, len(stripe.requests), time.perf_counter() - begun, memory)


def publish(costs: dict[str, Cost], path: Path) -> bool:
    """Prints the table, writes the JSON file and returns whether every promise was kept."""
    table = Table("", title="Taking over an account", title_justify="left")
    for name in (*costs, "ratio"):
        table.add_column(name, justify="right")
    ours, naive = costs["takeover"], costs["one by one"]
    table.add_row("customers", *(f"{cost.customers:,}" for cost in costs.values()), "")
    table.add_row(
        "requests a customer",
        *(f"{cost.requests_a_customer:.3f}" for cost in costs.values()),
        f"{ours.requests_a_customer / naive.requests_a_customer:.3f}",
    )
    table.add_row(
        "customers a second",
        *(f"{cost.customers_a_second:.1f}" for cost in costs.values()),
        f"{ours.customers_a_second / naive.customers_a_second:.1f}",
    )
    table.add_row("memory, MB", *(f"{cost.memory_mb:.0f}" for cost in costs.values()), "")
    print_table(sys.stdout, table)
    growth = ours.memory_mb - costs["a tenth"].memory_mb
    asked = ours.requests_a_customer
    verdicts = {
        f"{asked:.3f} requests a customer, below {REQUESTS_A_CUSTOMER} promised": asked < REQUESTS_A_CUSTOMER,
        f"memory stays ({growth:+.0f} MB for ten times the customers)": growth <= GROWTH_MB,
    }
    for text, is_kept in verdicts.items():
        say(f"{'kept  ' if is_kept else 'MISSED'} {text}")
    kept = all(verdicts.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        name: asdict(cost)
        | {"requests_a_customer": cost.requests_a_customer, "customers_a_second": cost.customers_a_second}
        for name, cost in costs.items()
    }
    path.write_text(json.dumps({"figures": figures, "kept": kept}, indent=2) + "\n")
    say(f"Written to {path}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
