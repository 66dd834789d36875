"""Runs a job: once per slot whoever asks, never twice at a time, within its time limit, on the record."""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from glyphforge.audit import acting_as
from glyphforge.audit.masking import mask, mask_values
from glyphforge.database import installation
from glyphforge.database.clock import database_time
from glyphforge.database.reconnect import reconnecting
from glyphforge.errors import LeftOut
from glyphforge.observability.logs import log_context
from monitoring.jobs import lease, schedules
from monitoring.jobs.cron import latest_slot
from monitoring.jobs.deadline import DeadlinePassed, deadline
from monitoring.jobs.outcome import JobFailed, JobSkipped, Outcome
from monitoring.jobs.plain_error import plain_error
from monitoring.jobs.registry import JOBS, Job
from monitoring.models import JobRun

# Long enough for a database to restart or to fail over.
RECORD_SECONDS = 90

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What came of asking for a run.

    `busy` and `taken` mean that nothing was run, and `run` is None: another run has not ended, or the slot is somebody
    else's, as all of a copy are production's. `skipped` means that the job ran and found that it cannot be done here.
    """

    outcome: Literal["succeeded", "failed", "skipped", "busy", "taken"]
    message: str
    run: JobRun | None = None


@dataclass(frozen=True)
class _Ending:
    status: JobRun.Status
    outcome: Outcome
    error: str | None = None


def run(
    name: str,
    *,
    trigger: str,
    slot: datetime | None = None,
    at_most: float | None = None,
    skips_when_busy: bool = True,
) -> Result:
    """Run the job `name`, for `slot` of its schedule or else for this moment; what fails in it is in the result.

    A slot that finds another run of the job is skipped for good, unless `skips_when_busy` is off: then it stays due.
    `at_most` seconds shorten the job's own limit, for a caller whose time is limited too. On a copy of production no
    slot is run; a person may run a job. Raises KeyError for a job
    that does not exist and whatever the database raises when the run cannot even be claimed.
    """
    job = JOBS[name]
    if slot is not None and not installation.is_production():
        logger.info("Job %s is not run. %s", name, installation.COPY)
        return Result("taken", f"{name}: not run. {installation.COPY}")
    lease.fail_dead_runs()
    claimed = lease.claim(name, slot=slot, trigger=trigger, take_over=bool(job.needs) and job.can_run_here)
    if slot is not None and (claimed != "busy" or skips_when_busy):
        if claimed == "busy":
            lease.record_skipped(name, slot=slot, trigger=trigger)
        schedules.record_slot(name, slot)
    if claimed == "busy":
        return Result("busy", f"{name}: another run has not ended")
    if claimed == "taken":
        return Result("taken", f"{name}: the slot was already run, or is being run, elsewhere")

    with (
        log_context(job=name, run=str(claimed.id)),
        acting_as(actor=f"job:{name}", kind="system", request_id=f"run-{claimed.id}"),
        claimed.kept_alive(),
    ):
        try:
            ending = _perform(job, min(job.timeout_seconds, at_most or job.timeout_seconds))
        except KeyboardInterrupt:
            _record(claimed, _Ending(JobRun.Status.FAILED, Outcome(), "The process was told to stop."))
            raise
        kept = _record(claimed, ending)
    return _result(name, ending, kept, JobRun.objects.get(pk=claimed.id))


def _result(name: str, ending: _Ending, kept: bool, found: JobRun) -> Result:
    if not kept:
        return Result("failed", f"{name}: the lease was lost, another process has taken the slot", found)
    if ending.status == JobRun.Status.FAILED:
        return Result("failed", f"{name}: {ending.error}", found)
    if ending.status == JobRun.Status.SKIPPED:
        return Result("skipped", f"{name}: skipped: {ending.outcome.detail['reason']}", found)
    return Result("succeeded", f"{name}: {ending.outcome.rows} rows", found)


def run_slot(name: str, *, scheduled_for: str) -> str:
    """Run a slot for a django-q2 schedule, which passes it as `scheduled_for`; returns what came of it.

    The run's row is the record, so a failed job is no failed task. For the argument see `intended_date_kwarg` at
    https://django-q2.readthedocs.io/en/master/schedules.html
    """
    return run(name, trigger="schedule", slot=datetime.fromisoformat(scheduled_for)).message


def run_by_hand(name: str, *, trigger: str) -> Result:
    """Run the job because a person asked: for the slot that is due, which nobody runs then again, else for this moment.

    So the slot is no longer overdue. Raises what `run` does.
    """
    slot = schedules.due_slot(name)
    if slot is not None:
        result = run(name, trigger=trigger, slot=slot, skips_when_busy=False)
        if result.outcome != "taken":
            return result
    return run(name, trigger=trigger)


def run_now(name: str, *, trigger: str) -> str:
    """Run the job for the queue, where a person asked for it; returns what came of it."""
    return run_by_hand(name, trigger=trigger).message


def run_due_slot(name: str, *, trigger: str, at_most: float | None = None) -> Result:
    """Run the slot that is due now, unless somebody has: for cron, systemd and Lambda.

    Of a job whose schedule is switched off, nothing is run and the result is `taken`.
    """
    cron, enabled = schedules.cron_of(JOBS[name])
    if not enabled:
        return Result("taken", f"{name}: its schedule is switched off")
    return run(name, trigger=trigger, slot=latest_slot(cron, database_time()), at_most=at_most)


def _perform(job: Job, seconds: float) -> _Ending:
    logger.info("Job %s starts", job.name)
    started = time.monotonic()
    if not job.can_run_here:
        return _skipped(job, f"{job.needs} is not set on this machine")
    try:
        with deadline(seconds):
            outcome = job.function()
    except DeadlinePassed:
        logger.error("Job %s was stopped at its limit of %.0f s", job.name, seconds)  # noqa: TRY400 - the trace is a timer's
        return _Ending(JobRun.Status.FAILED, Outcome(), f"Stopped at the limit of {seconds:.0f} s.")
    except JobSkipped as reason:
        return _skipped(job, mask(str(reason)))
    except (JobFailed, LeftOut) as error:
        logger.error("Job %s failed in part: %s", job.name, mask(str(error)))  # noqa: TRY400 - each part has named its error
        outcome = error.outcome if isinstance(error, JobFailed) else Outcome(error.done)
        return _Ending(JobRun.Status.FAILED, outcome, mask(str(error)))
    except Exception as error:
        logger.exception("Job %s failed", job.name)
        return _Ending(JobRun.Status.FAILED, Outcome(), plain_error(error))
    logger.info("Job %s succeeded in %.1f s, %s rows", job.name, time.monotonic() - started, outcome.rows)
    return _Ending(JobRun.Status.SUCCEEDED, outcome)


def _skipped(job: Job, reason: str) -> _Ending:
    logger.info("Job %s is skipped: %s", job.name, reason)
    return _Ending(JobRun.Status.SKIPPED, Outcome(detail={"reason": reason}))


def _record(claimed: lease.Lease, ending: _Ending) -> bool:
    """Write how the run ended, over a restart of the database if need be. False when the lease had been lost."""
    detail = json.dumps(mask_values(dict(ending.outcome.detail)), cls=DjangoJSONEncoder)

    def write() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE job_runs SET status = %s, finished_at = clock_timestamp(), rows_affected = %s,"
                " detail = detail || %s::jsonb, error = %s WHERE id = %s AND attempts = %s AND status = 'running'",
                [ending.status, ending.outcome.rows, detail, ending.error, claimed.id, claimed.attempt],
            )
            return bool(cursor.rowcount == 1)

    kept = reconnecting(write, pauses=_pauses())
    if not kept:
        logger.error("Job %s ended after its lease had been lost", claimed.job)
    return kept


def _pauses() -> Iterator[float]:
    give_up_at = time.monotonic() + RECORD_SECONDS
    while time.monotonic() < give_up_at:
        yield 1.0
