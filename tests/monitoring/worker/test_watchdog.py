"""A cluster that hangs is noticed by what it leaves undone, and started anew; a healthy one is left alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from monitoring.models import JobRun, WorkerHeartbeat
from monitoring.worker import heartbeat, watchdog
from monitoring.worker.watchdog import Diagnosis, Signs, Watchdog
from tests.support import processes
from tests.support.waiting import PATIENCE_SECONDS, wait_for

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
STUCK_AFTER = timedelta(seconds=120)


def signs(
    now: int, *, pusher: int | None = None, pulled: int | None = None, worker: int | None = None, busy: bool = False
) -> Signs:
    def at(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOON + timedelta(seconds=seconds)

    return Signs(NOON + timedelta(seconds=now), at(now if pusher is None else pusher), at(pulled), at(worker), busy)


def complaints(*seen: Signs) -> list[str | None]:
    diagnosis = Diagnosis(stuck_after=STUCK_AFTER)
    return [diagnosis.of(each) for each in seen]


def test_an_idle_cluster_is_healthy() -> None:
    assert complaints(*(signs(t) for t in range(0, 600, 30))) == [None] * 20


def test_a_task_that_no_idle_worker_begins_is_a_hang() -> None:
    seen = complaints(signs(0, worker=0), signs(10, pulled=5, worker=0), signs(130, pulled=5, worker=0))
    assert seen == [None, None, "a task was pulled and no worker has begun it"]


def test_tasks_that_keep_coming_do_not_hide_the_hang() -> None:
    seen = complaints(*(signs(60 * n + 5, pulled=60 * n + 1, worker=0) for n in range(3)))
    assert seen == [None, None, "a task was pulled and no worker has begun it"]


@pytest.mark.django_db
def test_the_watch_survives_a_database_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    cluster = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with connection.execute_wrapper(away):
        watchdog._end(cluster, patience=PATIENCE_SECONDS)
    assert cluster.returncode == -signal.SIGTERM
    assert "The end of the cluster cannot be noted" in caplog.text


def test_a_worker_that_answers_is_healthy_even_when_slow() -> None:
    assert (
        complaints(signs(0, pulled=1, worker=0), signs(200, pulled=1, worker=100), signs(400, pulled=1, worker=100))
        == [None] * 3
    )


def test_workers_busy_within_their_limits_are_no_hang() -> None:
    assert complaints(signs(0, pulled=0, worker=0, busy=True), signs(800, pulled=10, worker=0, busy=True)) == [None] * 2


def test_a_pusher_that_stops_reading_is_a_hang() -> None:
    assert complaints(signs(0), signs(100, pusher=0), signs(130, pusher=0)) == [None, None, "nothing reads the queue"]


def test_a_job_that_others_skipped_is_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    skipped_elsewhere = [["backup"], ["backup"], []]
    started: list[tuple[str, ...]] = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        started.append(arguments)
        return subprocess.Popen(["sleep", "300"])

    monkeypatch.setattr("monitoring.worker.watchdog.TAKE_OVER_SECONDS", 0)
    monkeypatch.setattr("monitoring.worker.watchdog._start", start)
    watchdog = Watchdog(stuck_after=STUCK_AFTER, skipped_jobs=skipped_elsewhere.pop)
    try:
        for _ in range(3):
            watchdog._take_over()
    finally:
        for process in watchdog._taken_over.values():
            process.kill()
            process.wait()
    assert started == [("run_job", "backup", "--scheduled", "--trigger", "watchdog")]


def test_no_patience_at_all_is_refused() -> None:
    with pytest.raises(CommandError, match="at least 1 second, not 0"):
        call_command("worker", stuck_after=0)


@pytest.fixture
def worker(request: pytest.FixtureRequest, transactional_db: None) -> Iterator["subprocess.Popen[str]"]:
    """`manage.py worker` on the test database, as patient as the test says, by default as in production."""
    Schedule.objects.all().delete()
    with processes.worker(*[f"--stuck-after={request.param}"] if hasattr(request, "param") else []) as process:
        wait_for(lambda: WorkerHeartbeat.objects.filter(role="worker").count() >= 2)
        wait_for(lambda: heartbeat.queue_state().alive)
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("worker", [10], indirect=True)  # a healthy worker of a busy machine begins within that
def test_a_cluster_wedged_by_killed_workers_is_replaced(worker: "subprocess.Popen[str]") -> None:
    workers = WorkerHeartbeat.objects.filter(role="worker")
    cluster = workers[0].cluster_pid
    for pid in workers.values_list("pid", flat=True):
        os.kill(pid, signal.SIGKILL)
    # django-q2 starts other workers, which wait for ever for the lock that the dead ones hold.
    async_task("monitoring.jobs.runner.run_now", "rollup", trigger="admin")
    wait_for(lambda: workers.exclude(cluster_pid=cluster).exists())
    async_task("monitoring.jobs.runner.run_now", "sync", trigger="admin")
    wait_for(lambda: JobRun.objects.filter(job="sync", status="succeeded").exists())
    # A task is acknowledged a moment after its job is done.
    wait_for(lambda: OrmQ.objects.count() < 2)
    # The task that the wedged cluster had pulled is still in the queue: it is given out again after `retry`.
    assert [task.task["args"] for task in OrmQ.objects.all()] == [("rollup",)]


@pytest.mark.slow
def test_worker_runs_tasks_and_is_known_to_be_stopped_afterwards(worker: "subprocess.Popen[str]") -> None:
    async_task("monitoring.jobs.runner.run_now", "rollup", trigger="admin")
    wait_for(lambda: JobRun.objects.filter(job="rollup", status="succeeded").exists())
    assert JobRun.objects.get(job="rollup").trigger == "admin"
    pids = list(WorkerHeartbeat.objects.values_list("pid", flat=True))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE_SECONDS) == 0
    assert not WorkerHeartbeat.objects.filter(stopped_at=None).exists()
    state = heartbeat.queue_state()
    assert not state.alive
    assert state.seconds_since_sign_of_life is not None
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_killed_worker_takes_its_cluster_along(worker: "subprocess.Popen[str]") -> None:
    pids = list(WorkerHeartbeat.objects.values_list("pid", flat=True))
    worker.kill()
    wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
