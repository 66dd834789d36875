"""`python -m benchmarks.views`: time every view, print plan and time, write var/benchmarks/views.json.

Exit 1 when a view takes longer than promised at the size that the promise is about (`--full`).
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.views.fill import DATABASE, Size, build
from glyphforge.embedded import Server, server

VAR = Path(__file__).resolve().parents[2] / "var"
QUICK = Size(users=10_000, requests=300_000, events=20_000)
FULL = Size(users=100_000, requests=5_000_000, events=200_000)
PROMISED_MS = 100
# What a page of the back office reads of views that have a row per customer or key.
FIRST_PAGE = {"v_api_key_usage_summary": "ORDER BY requests_this_month DESC, api_key_id LIMIT 50"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"at {FULL.users:,} users and {FULL.requests:,} requests")
    parser.add_argument("--rounds", type=int, default=5, help="times each view is read (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "views.json", help="where the figures go")
    options = parser.parse_args()
    size = FULL if options.full else QUICK

    postgres = server(
        VAR / "bench-postgres", options={"max_connections": "60", "shared_buffers": "512MB", "max_wal_size": "4GB"}
    )
    postgres.start()
    try:
        _fill(postgres, size)
        with psycopg.connect(postgres.url(DATABASE), autocommit=True) as connection:
            figures = [_measure(connection, view, options.rounds) for view in _views(connection)]
    finally:
        postgres.stop()
    _publish(figures, size, options.json)
    return int(options.full and any(figure["median_ms"] > PROMISED_MS for figure in figures))


def _fill(postgres: Server, size: Size) -> None:
    with Progress(SpinnerColumn(), TextColumn("Filling: {task.description}"), TimeElapsedColumn()) as progress:
        task = progress.add_task("", total=None)
        for step in build(postgres, size):
            progress.update(task, description=step)


def _views(connection: psycopg.Connection) -> list[str]:
    found = connection.execute("SELECT viewname FROM pg_views WHERE viewname LIKE 'v\\_%' ORDER BY viewname")
    return [name for (name,) in found]


def _measure(connection: psycopg.Connection, view: str, rounds: int) -> dict[str, Any]:
    query = f"SELECT * FROM {view} {FIRST_PAGE.get(view, '')}".encode()
    took = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        rows = connection.execute(query).fetchall()
        took.append((time.perf_counter() - began) * 1000)
    ((plan,),) = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + query).fetchall()
    return {
        "view": view,
        "rows": len(rows),
        "first_ms": took[0],
        "median_ms": statistics.median(took[1:]),
        "slowest_node": _slowest(plan[0]["Plan"]),
        "plan": plan[0],
    }


def _slowest(plan: dict[str, Any]) -> str:
    """The scan or join that takes most of the time itself."""

    def walk(node: dict[str, Any]) -> list[tuple[float, str]]:
        children = node.get("Plans", [])
        total = node["Actual Total Time"] * node["Actual Loops"]
        own = total - sum(child["Actual Total Time"] * child["Actual Loops"] for child in children)
        relation = node.get("Index Name") or node.get("Relation Name") or node.get("CTE Name") or ""
        found = [(own, f"{node['Node Type']} {relation}".strip())]
        return found + [entry for child in children for entry in walk(child)]

    own, name = max(walk(plan))
    return f"{name}, {own:.1f} ms"


def _publish(figures: list[dict[str, Any]], size: Size, path: Path) -> None:
    table = Table(
        title=f"{size.users:,} users, {size.requests:,} requests, {size.events:,} events", title_justify="left"
    )
    for heading in ("view", "rows", "first ms", "median ms", "most of it"):
        table.add_column(heading, justify="left" if heading in {"view", "most of it"} else "right")
    for figure in sorted(figures, key=lambda figure: -figure["median_ms"]):
        slow = figure["median_ms"] > PROMISED_MS
        median = f"{figure['median_ms']:.1f}"
        table.add_row(
            figure["view"],
            f"{figure['rows']:,}",
            f"{figure['first_ms']:.1f}",
            f"[red]{median}[/]" if slow else median,
            figure["slowest_node"],
        )
    console = Console()
    console.print(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"size": asdict(size), "views": figures}, indent=2) + "\n")
    console.print(f"Plans are in {path}")


if __name__ == "__main__":
    sys.exit(main())
