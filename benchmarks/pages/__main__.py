"""`python -m benchmarks.pages`: time pages of the back office, print the table, write var/benchmarks/pages.json.

Exit 1 when a page misses its promise at the size that the promises are about (`--full`): 200 ms, its number of queries,
and for lists and the search no large table read whole.
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from benchmarks.filled.database import VAR, filled
from benchmarks.filled.size import Size, add_options, chosen
from benchmarks.pages.page import pages
from benchmarks.pages.visit import Cost, visit
from glyphforge.observability.terminal import print_table, say

ALL_SHOWN = {"dashboard", "customer", "search"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rounds", type=int, default=3, help="times each page is fetched (default %(default)s)")
    parser.add_argument("--only", default="", help="only kinds of pages whose name contains this")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "pages.json", help="where the figures go")
    options = parser.parse_args()
    size = chosen(options)
    with filled(size, fresh=options.fresh):
        costs = _measure(options.only, options.rounds)
    _publish(costs, size, options.json)
    return int(options.full and any(cost.missed for cost in costs))


def _measure(only: str, rounds: int) -> list[Cost]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    from tests.support import factories

    logging.disable(logging.WARNING)
    staff = get_user_model().objects
    viewers = {
        "superuser": staff.filter(username="bench_superuser").first() or staff.create_superuser("bench_superuser"),
        "support": staff.filter(username="bench_support").first()
        or factories.staff("support", username="bench_support"),
    }
    costs = []
    with Progress() as progress:
        for name, viewer in viewers.items():
            client = Client()
            client.force_login(viewer)
            found = [page for page in pages(viewer) if only in page.kind]
            track = progress.track(found, description=f"Opening pages as {name}")
            costs += [visit(client, name, page, rounds) for page in track]
    return costs


def _publish(costs: list[Cost], size: Size, path: Path) -> None:
    table = Table(title=str(size), title_justify="left")
    for heading in ("page", "as", "queries", "database ms", "total ms", "quickest ms"):
        table.add_column(heading, justify="left" if heading in {"page", "as"} else "right")
    for (kind, viewer), group in groupby(costs, lambda cost: (cost.page.kind, cost.viewer)):
        for title, cost in _rows(kind, list(group)):
            total = f"{cost.total_ms:.0f}"
            table.add_row(
                title,
                viewer,
                str(cost.queries),
                f"{cost.database_ms:.0f}",
                Text(total, style="red" if cost.missed else ""),
                f"{cost.quickest_ms:.0f}",
            )
    print_table(sys.stdout, table)
    for cost in costs:
        if cost.missed:
            say(f"MISSED {cost.page.path} as {cost.viewer}: {'; '.join(cost.missed)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = [asdict(cost) | {"missed": cost.missed} for cost in costs]
    path.write_text(json.dumps({"size": asdict(size), "pages": figures}, indent=2) + "\n")
    say(f"Statements are in {path}")


def _rows(kind: str, costs: list[Cost]) -> list[tuple[str, Cost]]:
    """Every page, but of a list's many sorts and filters the slowest one only."""
    if kind in ALL_SHOWN or len(costs) == 1:
        return [(f"{kind}: {cost.page.name}" if len(costs) > 1 else kind, cost) for cost in costs]
    slowest = max(costs[1:], key=lambda cost: cost.total_ms)
    title = f"{kind}: slowest of {len(costs) - 1} sorts, filters and searches, {slowest.page.name}"
    return [(f"{kind}: {costs[0].page.name}", costs[0]), (title, slowest)]


if __name__ == "__main__":
    sys.exit(main())
