"""From runs to a table, a JSON file and a verdict."""

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.usage.designs import DESIGNS
from benchmarks.usage.loads import Run, moment
from glyphforge.observability.terminal import print_table, say

Results = dict[str, dict[str, list[Run]]]


@dataclass(frozen=True)
class Target:
    """A promise: `ours` against another design, at least (or at most) a ratio of what is measured."""

    load: str
    measure: str
    against: str
    ratio: float
    at_most: bool = False


TARGETS = (
    Target("hot user, 32 clients", "rows_per_second", "naive", 4),
    Target("hot user, 32 clients", "rows_per_second", "untriggered", 0.65),
    Target("hot user, 32 clients", "p99_ms", "untriggered", 2, at_most=True),
    Target("hot user, 32 clients, 1 ms disk", "rows_per_second", "naive", 10),
    Target("hot user, 32 clients, 1 ms disk", "rows_per_second", "untriggered", 0.75),
    Target("batches of 100, 8 clients", "rows_per_second", "untriggered", 0.8),
)


def summarise(runs: list[Run]) -> dict[str, float]:
    """The median run's throughput, the 99th percentile of all, and what a row costs."""
    latencies = sorted(latency for run in runs for latency in run.latencies_ms)
    rows = sum(run.rows for run in runs)
    return {
        "rows_per_second": statistics.median(run.rows_per_second for run in runs),
        "p99_ms": latencies[int(len(latencies) * 0.99)] if latencies else 0.0,
        "deadlocks": sum(run.deadlocks for run in runs),
        "wal_bytes_per_row": sum(run.wal_bytes for run in runs) / max(rows, 1),
        "backend_megabytes": max(run.backend_bytes for run in runs) / 1e6,
    }


def publish(results: Results, path: Path) -> bool:
    """Prints the tables, writes the JSON file and returns whether every promise was kept."""
    summary = {
        load: {design: summarise(runs) for design, runs in by_design.items()} for load, by_design in results.items()
    }
    for load, by_design in summary.items():
        print_table(sys.stdout, _table(load, by_design))
    verdicts = [_verdict(target, results[target.load]) for target in TARGETS if target.load in results]
    deadlocks = sum(by_design["ours"]["deadlocks"] for by_design in summary.values())
    verdicts.append((deadlocks == 0, f"ours: {deadlocks:.0f} deadlocks"))
    for kept, text in verdicts:
        say(f"{'kept  ' if kept else 'MISSED'} {text}")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "measured_at": moment(),
        "loads": summary,
        "targets": [{"kept": kept, "target": text} for kept, text in verdicts],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    say(f"Written to {path}")
    return all(kept for kept, _ in verdicts)


def _table(load: str, by_design: dict[str, dict[str, float]]) -> Table:
    table = Table(title=load, title_justify="left")
    for heading in ("design", "rows/s", "of untriggered", "of naive", "p99 ms", "deadlocks", "WAL B/row", "backend MB"):
        table.add_column(heading, justify="left" if heading == "design" else "right")
    for design in DESIGNS:
        measured = by_design[design]
        rate = measured["rows_per_second"]
        table.add_row(
            design,
            f"{rate:,.0f}",
            f"{rate / by_design['untriggered']['rows_per_second']:.2f}",
            f"{rate / by_design['naive']['rows_per_second']:.2f}",
            f"{measured['p99_ms']:,.1f}",
            f"{measured['deadlocks']:.0f}",
            f"{measured['wal_bytes_per_row']:,.0f}",
            f"{measured['backend_megabytes']:.1f}",
        )
    return table


def _verdict(target: Target, results: dict[str, list[Run]]) -> tuple[bool, str]:
    ratio = _ratio(target, results["ours"], results[target.against])
    kept = ratio <= target.ratio if target.at_most else ratio >= target.ratio
    bound = "at most" if target.at_most else "at least"
    return kept, f"{target.load}: {target.measure} {ratio:.2f} of {target.against}, {bound} {target.ratio} promised"


def _ratio(target: Target, ours: list[Run], others: list[Run]) -> float:
    """The median over the rounds, each compared with its neighbour in time: the machine's mood cancels out."""
    pairs = [
        (summarise([a])[target.measure], summarise([b])[target.measure]) for a, b in zip(ours, others, strict=True)
    ]
    return statistics.median(a / b if b else float("inf") for a, b in pairs)
