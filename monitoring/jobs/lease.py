"""The lease of a job: the row in `job_runs` that says who runs it, kept alive while that process lives."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import Error, IntegrityError, connection, transaction

LEASE_SECONDS = 60
RENEW_SECONDS = 15
MOST_ATTEMPTS = 3

logger = logging.getLogger(__name__)

_CLAIM = """
    INSERT INTO job_runs AS run (job, scheduled_for, "trigger", worker, lease_until)
    VALUES (
        %(job)s, coalesce(%(slot)s, clock_timestamp()), %(trigger)s, %(worker)s,
        clock_timestamp() + %(lease)s * interval '1 second'
    )
    ON CONFLICT (job, scheduled_for) DO UPDATE SET
        status = 'running',
        started_at = clock_timestamp(),
        finished_at = NULL,
        rows_affected = NULL,
        attempts = run.attempts + 1,
        detail = jsonb_build_object('earlier_attempts',
            coalesce(run.detail -> 'earlier_attempts', '[]') || jsonb_build_array(jsonb_build_object(
                'started_at', run.started_at, 'worker', run.worker,
                'error', coalesce(run.error, run.detail ->> 'reason')))),
        error = NULL,
        "trigger" = excluded.trigger,
        worker = excluded.worker,
        lease_until = excluded.lease_until
    WHERE
        run.attempts < %(most_attempts)s
        AND CASE run.status
            WHEN 'failed' THEN run.detail ? 'died'
            WHEN 'skipped' THEN %(take_over)s AND run.rows_affected IS NOT NULL
            ELSE false
        END
    RETURNING id, scheduled_for, attempts
"""


@dataclass(frozen=True)
class Lease:
    """The right to run one slot of a job, as a row of `job_runs`.

    `attempt` counts from 1, and tells this holder from one who took the slot over.
    """

    id: UUID
    job: str
    slot: datetime
    attempt: int

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Extend the lease every 15 seconds, by 60, until the block ends or the process dies.

        Done by a thread of its own, on a connection of its own.
        """
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(done,), name=f"lease of {self.job}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=RENEW_SECONDS)

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(RENEW_SECONDS):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "UPDATE job_runs SET lease_until = clock_timestamp() + %s * interval '1 second'"
                        " WHERE id = %s AND attempts = %s AND status = 'running'",
                        [LEASE_SECONDS, self.id, self.attempt],
                    )
            except Error:
                # The job itself meets the same database; a lease that lapses is how others learn of it.
                logger.warning("The lease of job %s could not be extended", self.job, exc_info=True)
            finally:
                connection.close()


def this_process() -> str:
    """This process as `host:pid`, the way `job_runs.worker` names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def fail_dead_runs() -> int:
    """Mark runs whose process died as failed; returns how many. Their jobs may run again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE job_runs SET status = 'failed', finished_at = clock_timestamp(),"
            " detail = detail || '{\"died\": true}',"
            " error = format('The process %%s died or hung: no sign of life since %%s.',"
            " coalesce(worker, 'that ran it'),"
            " to_char((lease_until - %s * interval '1 second') AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"'))"
            " WHERE status = 'running' AND lease_until < clock_timestamp() RETURNING job",
            [LEASE_SECONDS],
        )
        jobs = [job for (job,) in cursor.fetchall()]
    for job in jobs:
        logger.error("A run of job %s was left behind by a dead process and is marked failed", job)
    return len(jobs)


def claim(
    job: str, *, slot: datetime | None, trigger: str, take_over: bool = False
) -> Lease | Literal["busy", "taken"]:
    """Take the slot, or the present moment when `slot` is None.

    Gives "taken" when somebody has run or runs that slot, "busy" when another run of the job has not ended. A slot
    whose process died may be taken again, twice; so may, with `take_over`, one that was skipped as the job could not be
    done there. `trigger` says in the row what started it.
    """
    values: dict[str, str | int | datetime | None] = {
        "take_over": take_over,
        "job": job,
        "slot": slot,
        "trigger": trigger,
        "worker": this_process(),
        "lease": LEASE_SECONDS,
        "most_attempts": MOST_ATTEMPTS,
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_CLAIM, values)
            row = cursor.fetchone()
    except IntegrityError as error:
        if "job_runs_one_running" not in str(error):
            raise
        # Two who race for one slot can meet this index before the slot's own.
        return "taken" if slot and _is_known(job, slot) else "busy"
    return Lease(row[0], job, row[1], row[2]) if row else "taken"


def record_skipped(job: str, *, slot: datetime, trigger: str) -> None:
    """Leave a row that says why the slot was not run: the run before it had not ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO job_runs (job, scheduled_for, status, finished_at, "trigger", worker, detail)'
            " VALUES (%s, %s, 'skipped', clock_timestamp(), %s, %s, '{\"reason\": \"another run had not ended\"}')"
            " ON CONFLICT DO NOTHING",
            [job, slot, trigger, this_process()],
        )


def _is_known(job: str, slot: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM job_runs WHERE job = %s AND scheduled_for = %s)", [job, slot])
        return bool(cursor.fetchone()[0])
