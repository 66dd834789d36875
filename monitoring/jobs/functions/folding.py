"""Folds what requests left behind until little is left: what waits is bounded by seconds, not by the schedule."""

import math
import time

from monitoring.jobs.deadline import remaining_seconds
from monitoring.jobs.outcome import JobFailed, Outcome
from monitoring.jobs.steps import Step, run_steps

FOLDS = (
    Step("roll_up_usage", "SELECT roll_up_usage()"),
    Step("fold_traffic", "SELECT fold_traffic()"),
)
# A pass that finds no more than this, in rows of both, has caught up: at this rate a minute's worth is read quickly.
LITTLE = 2_000
PAUSE_SECONDS = 1.0
# The next run begins with the next minute.
LONGEST_SECONDS = 55.0


def fold_until_caught_up() -> Outcome:
    """Fold pass after pass, with a pause between them, for as long as much comes in; at most until the next run.

    Each pass is a transaction a step, and a transaction of `fold_traffic()` takes half a million requests at most. The
    detail sums the passes up, with their number as `passes`. A failure ends the run; what was folded until then stays.
    """
    until = time.monotonic() + min(LONGEST_SECONDS, (remaining_seconds() or math.inf) / 2)
    done = Outcome(detail={"passes": 0})
    while True:
        try:
            found = run_steps(*FOLDS)
        except JobFailed as failure:
            raise JobFailed(str(failure), _sum(done, failure.outcome)) from failure
        done = _sum(done, found)
        if found.rows <= LITTLE or time.monotonic() + PAUSE_SECONDS > until:
            return done
        time.sleep(PAUSE_SECONDS)


def _sum(done: Outcome, found: Outcome) -> Outcome:
    """Both as one, each step as it went last but with the rows and the time of all its passes."""
    detail = {"passes": done.detail["passes"] + 1} | {
        name: step
        | {figure: done.detail.get(name, {}).get(figure, 0) + step.get(figure, 0) for figure in ("rows", "duration_ms")}
        for name, step in found.detail.items()
    }
    return Outcome(rows=done.rows + found.rows, detail=detail)
