"""Jobs made up for tests, in place of the registry's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from monitoring.jobs import registry
from monitoring.jobs.outcome import Outcome
from monitoring.jobs.registry import Job


def done() -> Outcome:
    return Outcome(rows=3, detail={"note": "done"})


@contextmanager
def registered(
    name: str = "probe",
    function: Callable[[], Outcome] = done,
    *,
    timeout_seconds: int = 60,
    cron: str = "0 2 * * *",
    needs: str = "",
) -> Iterator[Job]:
    job = Job(name, cron, timeout_seconds, function, "Nothing: this is a test.", needs)
    assert name not in registry.JOBS
    registry.JOBS[name] = job
    try:
        yield job
    finally:
        del registry.JOBS[name]
