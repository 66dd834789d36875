"""`python -m benchmarks.forecast`: how good the forecast of requests is; exit 1 when a promise is missed.

`forecast_requests()` is asked on many days of the past of companies that are made up: weekdays, growth that changes,
days that go wrong. The promises: its mean error is lower than that of the run rate, the last 30 days once more, and its
80 % interval covers 75 to 85 % of what came. The companies are the same in each run.
"""

import json
import math
import random
import statistics
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.table import Table

from benchmarks.small import run
from glyphforge.observability.terminal import print_table, say

COMPANIES, DAYS, ASKED_EVERY, HORIZON = 24, 700, 23, 30
KNOWN_DAYS = 200  # before the first forecast
WEEKDAYS = (1.1, 1.15, 1.15, 1.1, 1.0, 0.6, 0.55)
COVERED = (0.75, 0.85)


def traffic(seed: int) -> list[int]:
    """Requests a day: growth of -1 to 10 % a month that drifts, noise that lasts for days, one day in a hundred odd."""
    chance = random.Random(seed)
    weekdays = [share * chance.uniform(0.9, 1.1) for share in WEEKDAYS]
    level, growth, noise = math.log(chance.uniform(2e3, 2e5)), chance.uniform(-0.01, 0.10) / 30, 0.0
    days = []
    for day in range(DAYS):
        growth = min(max(growth + chance.gauss(0, 0.0001), -0.001), 0.004)
        level += growth
        noise = 0.5 * noise + chance.gauss(0, 0.05)
        odd = chance.choice([0.3, 1.8]) if chance.random() < 0.01 else 1.0
        days.append(round(math.exp(level + noise) * weekdays[day % 7] * odd))
    return days


def forecasts(days: list[int]) -> Iterator[tuple[int, dict[str, int]]]:
    """What came in 30 days, and what was forecast on their first morning."""
    from tests.support.sql import one
    from tests.support.sql import run as execute

    begins = datetime.now(UTC).date() - timedelta(days=len(days))
    execute("TRUNCATE traffic_days")
    execute(
        "INSERT INTO traffic_days SELECT %s::date + n::int - 1, requests, 0, 0, 1"
        " FROM unnest(%s::bigint[]) WITH ORDINALITY AS u (requests, n)",
        begins,
        days,
    )
    for known in range(KNOWN_DAYS, len(days) - HORIZON + 1, ASKED_EVERY):
        as_of: date = begins + timedelta(days=known)
        yield sum(days[known : known + HORIZON]), one("SELECT * FROM forecast_requests(%s)", as_of)


def measure() -> dict[str, float]:
    """Mean errors as shares of what came, and the share of intervals that hold it."""
    errors, naive, held = [], [], []
    for seed in range(COMPANIES):
        for came, forecast in forecasts(traffic(seed)):
            errors.append(abs(forecast["expected_requests"] / came - 1))
            naive.append(abs(forecast["run_rate_requests"] / came - 1))
            held.append(forecast["low_requests"] <= came <= forecast["high_requests"])
    return {
        "forecasts": len(held),
        "mean_error": statistics.fmean(errors),
        "run_rate_error": statistics.fmean(naive),
        "covered": statistics.fmean(held),
    }


def publish(figures: dict[str, float], path: Path) -> bool:
    """Prints the table, writes the JSON file and returns whether the promises were kept."""
    table = Table("requests of 30 days", title="Forecast against what came", title_justify="left")
    table.add_column("mean error", justify="right")
    table.add_row("forecast_requests()", f"{figures['mean_error']:.1%}")
    table.add_row("the run rate", f"{figures['run_rate_error']:.1%}")
    print_table(sys.stdout, table)
    promises = {
        "error: lower than the run rate's": figures["mean_error"] < figures["run_rate_error"],
        f"80 % interval: holds {figures['covered']:.1%} of {figures['forecasts']:.0f}, 75 to 85 % promised": (
            COVERED[0] <= figures["covered"] <= COVERED[1]
        ),
    }
    for promise, kept in promises.items():
        say(f"{'kept  ' if kept else 'MISSED'} {promise}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    return all(promises.values())


if __name__ == "__main__":
    sys.exit(run("forecast", __doc__, measure, publish))
