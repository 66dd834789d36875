"""Starts the queue's cluster, and starts it again when it dies or wedges.

A cluster whose idle worker was killed can hang for ever: the dead process holds the lock of the task queue. Nothing
crashes, tasks are pulled and never begin. So the watchdog believes only in what it sees in the database: after a task
was pulled some worker must do something, and the pusher must keep reading.

Any machine's cluster may pull a job that only some machines can do, such as a backup. What was skipped elsewhere for
that reason the watchdog of a machine that can do it starts here.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error, connection

from glyphforge.processes import die_with_parent
from monitoring.worker.heartbeat import SILENT_AFTER

POLL_SECONDS = 2.0
TAKE_OVER_SECONDS = 30.0
STOP_SECONDS = 75.0
KILL_SECONDS = 5.0
# A cluster that dies at once is not started in a busy loop.
SHORTEST_LIFE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signs:
    """What the heartbeats of one cluster say at the moment `now` of the database's clock.

    `worked_at` is when a worker last began or ended something; `busy` whether one is within its task's limit.
    """

    now: datetime
    pusher_seen_at: datetime | None
    pulled_at: datetime | None
    worked_at: datetime | None
    busy: bool


class Diagnosis:
    """Follows one cluster's signs of life from its start and says what is wrong with it.

    `stuck_after` is how long a pulled task may wait for a worker.
    """

    def __init__(self, *, stuck_after: timedelta) -> None:
        self._stuck_after = stuck_after
        self._started_at: datetime | None = None
        self._unanswered_since: datetime | None = None

    def of(self, signs: Signs) -> str | None:
        """Judge the latest signs: the complaint, or None while the cluster looks healthy."""
        self._started_at = self._started_at or signs.now
        answered = bool(self._unanswered_since and signs.worked_at and signs.worked_at > self._unanswered_since)
        if answered or not self._unanswered_since:
            open_pull = signs.pulled_at and (not signs.worked_at or signs.pulled_at > signs.worked_at)
            self._unanswered_since = signs.pulled_at if open_pull else None
        if signs.busy:
            return None
        if self._unanswered_since and signs.now - self._unanswered_since > self._stuck_after:
            return "a task was pulled and no worker has begun it"
        # Blocked on a full task queue, or dead.
        last_read = max(signs.pusher_seen_at or self._started_at, self._started_at)
        if signs.now - last_read > max(SILENT_AFTER, self._stuck_after):
            return "nothing reads the queue"
        return None


def signs_of(cluster_pid: int) -> Signs:
    """Read the heartbeats of the cluster on this host whose process group is `cluster_pid`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT clock_timestamp(), max(seen_at) FILTER (WHERE role = 'pusher'), max(pulled_at),"
            # A worker that was only just spawned has done nothing yet.
            " max(seen_at) FILTER (WHERE role = 'worker' AND seen_at > started_at),"
            " coalesce(bool_or(role = 'worker' AND task_deadline_at > clock_timestamp()), false)"
            " FROM worker_heartbeats WHERE host = %s AND cluster_pid = %s AND stopped_at IS NULL",
            [socket.gethostname(), cluster_pid],
        )
        return Signs(*cursor.fetchone())


class Watchdog:
    """Runs `manage.py qcluster` until told to stop, and each job that `skipped_jobs` names, once at a time."""

    def __init__(self, *, stuck_after: timedelta, skipped_jobs: Callable[[], Iterable[str]] = tuple) -> None:
        self._stuck_after = stuck_after
        self._skipped_jobs = skipped_jobs
        self._stopping = threading.Event()
        self._taken_over: dict[str, subprocess.Popen[bytes]] = {}
        self._look_again_at = 0.0

    def stop(self) -> None:
        """Let the tasks that run end, then return from `run`."""
        self._stopping.set()

    def run(self) -> None:
        """Keep one cluster running until `stop` is called: start it, watch it, end it when it hangs, start another.

        Returns when cluster and jobs have ended; a cluster gets 75 seconds for the tasks that run.
        """
        while not self._stopping.is_set():
            started = time.monotonic()
            cluster = _start("qcluster")
            self._watch(cluster)
            _end(cluster, patience=STOP_SECONDS if self._stopping.is_set() else KILL_SECONDS)
            if time.monotonic() - started < SHORTEST_LIFE_SECONDS:
                self._stopping.wait(SHORTEST_LIFE_SECONDS)
        for job in self._taken_over.values():
            _end(job, patience=KILL_SECONDS)

    def _watch(self, cluster: subprocess.Popen[bytes]) -> None:
        """Returns when the cluster has to be ended, started anew, or both."""
        diagnosis = Diagnosis(stuck_after=self._stuck_after)
        while not self._stopping.wait(POLL_SECONDS):
            if cluster.poll() is not None:
                logger.error("The queue's cluster ended with status %s; starting another", cluster.returncode)
                return
            try:
                complaint = diagnosis.of(signs_of(cluster.pid))
                self._take_over()
            except Error:
                # Without the database no cluster works, and none is to blame.
                logger.warning("The queue's signs of life cannot be read", exc_info=True)
                diagnosis = Diagnosis(stuck_after=self._stuck_after)
                complaint = None
            finally:
                connection.close_if_unusable_or_obsolete()
            if complaint:
                logger.critical("The queue's cluster hangs: %s; starting another", complaint)
                return

    def _take_over(self) -> None:
        if time.monotonic() < self._look_again_at:
            return
        self._look_again_at = time.monotonic() + TAKE_OVER_SECONDS
        for name in self._skipped_jobs():
            before = self._taken_over.get(name)
            if before is None or before.poll() is not None:
                logger.info("Job %s was skipped elsewhere and is run here", name)
                self._taken_over[name] = _start("run_job", name, "--scheduled", "--trigger", "watchdog")


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    # A session of its own: the whole process group can be ended, and a terminal's Ctrl-C reaches it once, through us.
    return subprocess.Popen(
        [sys.executable, sys.argv[0], *arguments],
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - this process has one thread
    )


def _end(process: subprocess.Popen[bytes], *, patience: float) -> None:
    """Asks a cluster or a job to stop, then kills what is left of its process group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %.0f s and is killed", process.args, patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE worker_heartbeats SET stopped_at = clock_timestamp(), task = NULL, task_deadline_at = NULL"
                " WHERE host = %s AND cluster_pid = %s",
                [socket.gethostname(), process.pid],
            )
    except Error:
        # The database being away must not end the watch over the queue; the check goes by what was seen last.
        logger.warning("The end of the cluster cannot be noted", exc_info=True)
    finally:
        connection.close_if_unusable_or_obsolete()
