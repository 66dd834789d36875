"""`python -m benchmarks.usage`: measure, print, write var/benchmarks/usage.json; exit 1 when a promise is missed."""

import argparse
import random
import sys
from pathlib import Path

from rich.progress import Progress

from benchmarks.usage.designs import DESIGNS, build, reset
from benchmarks.usage.loads import LOADS, Run, measure
from benchmarks.usage.report import publish
from glyphforge.embedded import server

VAR = Path(__file__).resolve().parents[2] / "var"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="length of one run (default %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="runs of each design under each load (default %(default)s)"
    )
    parser.add_argument("--only", default="", help="only loads whose name contains this")
    parser.add_argument("--json", type=Path, default=VAR / "benchmarks" / "usage.json", help="where the figures go")
    options = parser.parse_args()

    loads = [load for load in LOADS if options.only in load.name]
    # Durable as in production: fsync and synchronous_commit stay on.
    postgres = server(
        VAR / "bench-postgres", options={"max_connections": "60", "shared_buffers": "512MB", "max_wal_size": "4GB"}
    )
    postgres.start()
    try:
        build(postgres)
        results: dict[str, dict[str, list[Run]]] = {load.name: {name: [] for name in DESIGNS} for load in loads}
        with Progress() as progress:
            task = progress.add_task("Measuring", total=len(loads) * len(DESIGNS) * options.rounds)
            for load in loads:
                # Interleaved, so that a slow minute of the machine hits every design, and in another order each round,
                # so that none always runs after the same other one.
                for number in range(options.rounds):
                    for design in random.Random(number).sample(DESIGNS, len(DESIGNS)):
                        progress.update(task, description=f"{load.name}: {design}")
                        reset(postgres, design)
                        results[load.name][design].append(measure(postgres, design, load, options.seconds))
                        progress.advance(task)
    finally:
        postgres.stop()
    return 0 if publish(results, options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
