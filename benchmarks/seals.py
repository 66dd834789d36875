"""`python -m benchmarks.seals`: what sealing the audit log costs; exit 1 when the promise is missed.

The promise: sealing the rows of a write costs less than 2 % of the write. Both are timed in turns on one server, so
that a slow minute of the machine hits both.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from rich.table import Table

from benchmarks.small import run
from glyphforge.observability.terminal import print_table, say

WRITES, ROUNDS = 500, 9
MOST = 0.02


def measure() -> dict[str, float]:
    """Medians in microseconds a write: of a new customer, with the two audit rows of it, and of sealing those."""
    from tests.support.factories import customer
    from tests.support.sql import scalar

    scalar("SELECT seal_audit_log()")
    timings: dict[str, list[float]] = {"write": [], "seal": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(WRITES):
            customer()
        written = time.perf_counter()
        assert scalar("SELECT seal_audit_log()") >= WRITES
        timings["write"].append((written - started) / WRITES * 1e6)
        timings["seal"].append((time.perf_counter() - written) / WRITES * 1e6)
    return {kind: statistics.median(measured) for kind, measured in timings.items()}


def publish(figures: dict[str, float], path: Path) -> bool:
    """Prints the table, writes the JSON file and returns whether the promise was kept."""
    table = Table("a new customer", title="Seals of the audit log", title_justify="left")
    table.add_column("µs", justify="right")
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,.1f}")
    print_table(sys.stdout, table)
    share = figures["seal"] / figures["write"]
    kept = share < MOST
    say(f"{'kept  ' if kept else 'MISSED'} sealing: {share:.2%} of a write, less than {MOST:.0%} promised")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"microseconds": figures, "share": share}, indent=1) + "\n")
    return kept


if __name__ == "__main__":
    sys.exit(run("seals", __doc__, measure, publish))
