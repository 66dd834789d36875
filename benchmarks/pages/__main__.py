"""`python -m benchmarks.pages`: time the pages of the back office, print a table, write var/benchmarks/pages.json.

Each page is asked for as a browser would ask, signed in, without the network: queries, view and template. Exit 1 when
the customer page takes longer than promised at the size that the promise is about (`--full`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.pages.fill import DATABASE, build
from benchmarks.views.fill import Size
from glyphforge.embedded import Server, server

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
QUICK, QUICK_ENTRIES = Size(users=5_000, requests=100_000, events=10_000), 50_000
FULL, FULL_ENTRIES = Size(users=100_000, requests=5_000_000, events=200_000), 1_000_000
CUSTOMER = "the customer page"
PROMISED_MS = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full",
        action="store_true",
        help=f"at {FULL.users:,} users, {FULL.requests:,} requests, {FULL_ENTRIES:,} entries",
    )
    parser.add_argument("--rounds", type=int, default=7, help="times each page is asked for (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "pages.json", help="where the figures go")
    options = parser.parse_args()
    size, entries = (FULL, FULL_ENTRIES) if options.full else (QUICK, QUICK_ENTRIES)

    postgres = server(
        VAR / "bench-postgres", options={"max_connections": "60", "shared_buffers": "512MB", "max_wal_size": "4GB"}
    )
    postgres.start()
    try:
        _create(postgres)
        _fill(postgres, size, entries)
        figures = _measure(options.rounds)
    finally:
        postgres.stop()
    _publish(figures, size, entries, options.json)
    promised = next(figure for figure in figures if figure["page"] == CUSTOMER)
    return int(options.full and promised["median_ms"] > PROMISED_MS)


def _create(postgres: Server) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "glyphforge.settings",
        "DATABASE_URL": postgres.url(DATABASE),
        "DJANGO_DEBUG": "false",
        "LOG_LEVEL": "ERROR",
    }
    Console().print("Migrating takes most of a minute …")
    subprocess.run([sys.executable, "manage.py", "database", "init"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _fill(postgres: Server, size: Size, entries: int) -> None:
    with (
        Progress(SpinnerColumn(), TextColumn("Filling: {task.description}"), TimeElapsedColumn()) as progress,
        psycopg.connect(postgres.url(DATABASE), autocommit=True) as connection,
    ):
        task = progress.add_task("", total=None)
        for step in build(connection, size, entries):
            progress.update(task, description=step)


def _measure(rounds: int) -> list[dict[str, Any]]:
    import django

    django.setup()
    from django.core.cache import cache
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from billing import roles

    client = Client(HTTP_HOST="localhost")
    client.force_login(roles.create_staff("lead", "billing_lead"), "django.contrib.auth.backends.ModelBackend")
    figures = []
    for page, path in _pages().items():
        took = []
        for _ in range(rounds + 1):
            cache.clear()
            began = time.perf_counter()
            status = client.get(path).status_code
            took.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise SystemExit(f"{path} answers {status}")
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        figures.append(
            {"page": page, "queries": len(queries), "first_ms": took[0], "median_ms": statistics.median(took[1:])}
        )
    return figures


def _pages() -> dict[str, str]:
    """What is measured, by its name. The customer is the one with the most requests of all."""
    from django.db.models import Sum

    from billing.models import MonthlyUsageSummary

    heaviest = MonthlyUsageSummary.objects.values("user_id").annotate(total=Sum("total_requests")).order_by("-total")
    user = heaviest[0]["user_id"]
    billing = "/admin/billing"
    return {
        "start page": "/admin/",
        CUSTOMER: f"{billing}/user/{user}/change/",
        "customers": f"{billing}/user/",
        "customers by e-mail": f"{billing}/user/?o=0",
        "customers, last page offered": f"{billing}/user/?p=9999",
        "customers, suspended": f"{billing}/user/?status__exact=suspended",
        "search, many hits": f"{billing}/user/find/?q=example.com",
        "subscriptions, past due": f"{billing}/subscription/?status__exact=past_due",
        "payments": f"{billing}/payment/",
        "payments, failed": f"{billing}/payment/?status__exact=failed",
        "keys": f"{billing}/apikey/",
        "events": f"{billing}/webhookevent/",
        "events of a customer": f"{billing}/webhookevent/?q=cus_77",
        "events, retry all": f"{billing}/webhookevent/do/retry_webhooks/",
        "audit log": f"{billing}/auditentry/",
        "audit log, one row": f"{billing}/auditentry/?q={user}",
        "requests": f"{billing}/apiusage/",
        "requests of a customer": f"{billing}/apiusage/?user__id__exact={user}",
        "alerts": "/admin/monitoring/alert/",
        "system health": "/admin/monitoring/systemhealth/",
    }


def _publish(figures: list[dict[str, Any]], size: Size, entries: int, path: Path) -> None:
    title = f"{size.users:,} users, {size.requests:,} requests, {size.events:,} events, {entries:,} audit entries"
    table = Table("page", title=title, title_justify="left")
    for heading in ("queries", "first ms", "median ms"):
        table.add_column(heading, justify="right")
    for figure in figures:
        slow = figure["page"] == CUSTOMER and figure["median_ms"] > PROMISED_MS
        median = f"{figure['median_ms']:.0f}"
        table.add_row(
            figure["page"], str(figure["queries"]), f"{figure['first_ms']:.0f}", f"[red]{median}[/]" if slow else median
        )
    console = Console()
    console.print(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"size": asdict(size), "audit_entries": entries, "pages": figures}, indent=2) + "\n")
    console.print(f"Figures are in {path}")


if __name__ == "__main__":
    sys.exit(main())
