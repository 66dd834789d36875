"""Jobs made up for tests, in place of the registry's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from monitoring import jobs
from monitoring.jobs import Job
from monitoring.outcome import Outcome


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
    assert name not in jobs.JOBS
    jobs.JOBS[name] = job
    try:
        yield job
    finally:
        del jobs.JOBS[name]
