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
from rich.table import Table
from rich.text import Text

from benchmarks.filled.database import VAR, filled
from benchmarks.filled.size import Size, add_options, chosen
from glyphforge.observability.terminal import print_table, say

PROMISED_MS = 100
# What a page of the back office reads of views that have a row per customer or key.
FIRST_PAGE = {"v_api_key_usage_summary": "ORDER BY requests_this_month DESC, api_key_id LIMIT 50"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=5, help="times each view is read (default %(default)s)")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "views.json", help="where the figures go")
    options = parser.parse_args()
    size = chosen(options)

    with filled(size, fresh=options.fresh) as url, psycopg.connect(url, autocommit=True) as connection:
        figures = [_measure(connection, view, options.rounds) for view in _views(connection)]
    _publish(figures, size, options.json)
    return int(options.full and any(figure["median_ms"] > PROMISED_MS for figure in figures))


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
        "quickest_ms": min(took[1:]),
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
    table = Table(title=str(size), title_justify="left")
    for heading in ("view", "rows", "first ms", "median ms", "quickest ms", "most of it"):
        table.add_column(heading, justify="left" if heading in {"view", "most of it"} else "right")
    for figure in sorted(figures, key=lambda figure: -figure["median_ms"]):
        slow = figure["median_ms"] > PROMISED_MS
        median = f"{figure['median_ms']:.1f}"
        table.add_row(
            figure["view"],
            f"{figure['rows']:,}",
            f"{figure['first_ms']:.1f}",
            Text(median, style="red" if slow else ""),
            f"{figure['quickest_ms']:.1f}",
            figure["slowest_node"],
        )
    print_table(sys.stdout, table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"size": asdict(size), "views": figures}, indent=2) + "\n")
    say(f"Plans are in {path}")


if __name__ == "__main__":
    sys.exit(main())
