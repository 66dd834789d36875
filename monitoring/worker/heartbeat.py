"""Signs of life of the queue: its pusher says that it reads, each worker what it is doing."""

import logging
import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import Error, connection
from django_q.conf import Conf

PUSHER_EVERY_SECONDS = 10
# A pusher that has been silent for this long is dead or blocked.
SILENT_AFTER = timedelta(seconds=60)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueState:
    """How the queue is doing, over all machines.

    `alive` says that it was read within the last minute by a worker that was not stopped since; seconds since it was
    last read are None where nothing ever read it.
    `waiting` tasks are those that nobody has pulled.
    """

    alive: bool
    seconds_since_sign_of_life: float | None
    waiting: int
    oldest_waiting_seconds: float


def beat_as_pusher(*, pulled: bool) -> None:
    """Say that this process reads the queue and, if so, that it has just handed a task to the workers."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO worker_heartbeats AS known (host, pid, cluster_pid, role, pulled_at)"
            " VALUES (%s, %s, %s, 'pusher', CASE WHEN %s THEN clock_timestamp() END)"
            " ON CONFLICT (host, pid) DO UPDATE SET cluster_pid = excluded.cluster_pid, role = excluded.role,"
            " seen_at = excluded.seen_at, stopped_at = NULL, pulled_at = coalesce(excluded.pulled_at, known.pulled_at)",
            [*_this_process(), pulled],
        )


def beat_as_worker(*, task: str | None = None, seconds: float | None = None) -> None:
    """Say that this worker is idle, or what it does and for how many seconds at most."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO worker_heartbeats (host, pid, cluster_pid, role, started_at, seen_at, task, task_deadline_at)"
            " VALUES (%s, %s, %s, 'worker', statement_timestamp(), statement_timestamp(), %s,"
            " statement_timestamp() + %s * interval '1 second')"
            " ON CONFLICT (host, pid) DO UPDATE SET cluster_pid = excluded.cluster_pid, role = excluded.role,"
            " seen_at = excluded.seen_at, stopped_at = NULL, task = excluded.task,"
            " task_deadline_at = excluded.task_deadline_at",
            [*_this_process(), task, seconds],
        )


def _this_process() -> tuple[str, int, int]:
    # A cluster is a process group: the command, its sentinel, the pusher and the workers.
    return socket.gethostname(), os.getpid(), os.getpgrp()


def queue_state() -> QueueState:
    """Read how the queue is doing now, in two small queries; raises what the database raises."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - max(seen_at))::float8,"
            " coalesce(max(seen_at) FILTER (WHERE stopped_at IS NULL) > clock_timestamp()"
            " - %s * interval '1 second', false)"
            " FROM worker_heartbeats WHERE role = 'pusher'",
            [SILENT_AFTER.total_seconds()],
        )
        silent, alive = cursor.fetchone()
        cursor.execute(
            "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(lock)), 0)::float8"
            " FROM django_q_ormq WHERE key = %s AND lock <= clock_timestamp()",
            [Conf.CLUSTER_NAME],
        )
        waiting, oldest = cursor.fetchone()
    return QueueState(alive, silent, waiting, oldest)


def worker_spawned(**kwargs: Any) -> None:
    """Note that a worker was started; receives django-q2's `post_spawn`.

    For the signals see https://django-q2.readthedocs.io/en/master/signals.html
    """
    _try_to_beat()


def task_begins(task: dict[str, Any], **kwargs: Any) -> None:
    """Note what this worker begins and for how long at most; receives `pre_execute`.

    The queue's own limit holds for a task that names none.
    """
    limit: float = task.get("timeout") or Conf.TIMEOUT
    _try_to_beat(task=str(task.get("name") or task.get("id")), seconds=limit)


def task_ended(**kwargs: Any) -> None:
    """Note that this worker is idle again; receives `post_execute_in_worker`."""
    _try_to_beat()


def _try_to_beat(*, task: str | None = None, seconds: float | None = None) -> None:
    if Conf.SYNC:
        return
    try:
        beat_as_worker(task=task, seconds=seconds)
    except Error:
        # An exception here would end the worker between two tasks. The task meets the database soon enough.
        logger.warning("A worker's sign of life could not be written", exc_info=True)


class Throttle:
    """A gate that opens at most once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")

    def passes(self) -> bool:
        """Whether the gate is open now; if it is, it closes."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True
