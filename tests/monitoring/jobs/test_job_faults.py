"""What goes wrong while a job runs: nothing is lost or doubled, and the run's row tells what happened."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from glyphforge import embedded
from monitoring.jobs import runner
from monitoring.jobs.outcome import Outcome
from monitoring.models import JobRun
from tests.support import processes, topology
from tests.support.database import session
from tests.support.jobs import registered
from tests.support.needs import require
from tests.support.waiting import PATIENCE_SECONDS, wait_for

SLOT = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

# A job that says when it has begun and then waits in the server.
SLOW_JOB = """
import json, signal, sys
from datetime import datetime, timezone
# Children of a suite that runs in the background inherit that SIGINT is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
import django
django.setup()
from django.db import connection
from monitoring.jobs import registry, runner
from monitoring.jobs.outcome import Outcome
def slow():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        print("begun", flush=True)
        cursor.execute("SELECT pg_sleep(240)")
    return Outcome()
registry.JOBS["probe"] = registry.Job("probe", "0 2 * * *", 300, slow, "Nothing: this is a test.")
result = runner.run("probe", trigger="cron", slot=datetime(2026, 5, 1, 2, tzinfo=timezone.utc))
print(json.dumps([result.outcome, result.message]))
"""


def begun(**values: str) -> "subprocess.Popen[str]":
    """The slow job in another process, under way; `values` are variables of its environment."""
    process = processes.start("-c", SLOW_JOB, **values)
    assert process.stdout
    for line in process.stdout:
        if line.strip() == "begun":
            return process
    raise AssertionError("the job never began")


def in_the_server() -> int:
    """Waits until the job's statement runs in the server; the pid of its session."""

    def session() -> int | None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE '%pg_sleep(240)%'"
            )
            row = cursor.fetchone()
            return int(row[0]) if row else None

    return wait_for(session)


def tell_server(function: str, pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [pid])


def test_a_killed_workers_slot_is_run_once_more_and_the_row_tells_both() -> None:
    process = begun()
    process.kill()
    process.wait()
    with registered():
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "taken"
        assert runner.run("probe", trigger="manual").outcome == "busy"
        # A minute later the lease has run out.
        JobRun.objects.filter(job="probe").update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "succeeded"
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "taken"
    run = JobRun.objects.get(job="probe")
    assert (run.status, run.attempts, run.trigger) == ("succeeded", 2, "schedule")
    (earlier,) = run.detail["earlier_attempts"]
    assert f":{process.pid} died or hung" in earlier["error"]


def test_a_stopped_process_says_so() -> None:
    process = begun()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=PATIENCE_SECONDS)
    assert JobRun.objects.get(job="probe").error == "The process was told to stop."


def test_a_lost_connection_fails_the_job_and_is_recorded_over_a_new_one() -> None:
    process = begun()
    tell_server("pg_terminate_backend", in_the_server())
    assert process.stdout
    outcome, message = json.loads(process.stdout.read().splitlines()[-1])
    assert outcome == "failed"
    assert message == "probe: The database could not be reached."
    assert JobRun.objects.get(job="probe").status == "failed"


@pytest.fixture
def other_server(db: None) -> Iterator[embedded.Server]:
    """A copy of the suite's server, to be treated badly."""
    require(settings.TEST_SERVER, "the suite's own server")
    with topology.copy_of(settings.TEST_SERVER) as server:
        yield server


def test_a_job_survives_the_restart_of_the_database_on_the_record(other_server: embedded.Server) -> None:
    url = other_server.url(connection.settings_dict["NAME"])
    process = begun(DATABASE_URL=url)
    other_server.stop()
    time.sleep(1)
    other_server.start()
    assert process.stdout
    outcome, _ = json.loads(process.stdout.read().splitlines()[-1])
    assert outcome == "failed"
    with psycopg.connect(url) as server:
        rows = server.execute(
            "SELECT status, error, finished_at IS NOT NULL FROM job_runs WHERE job = 'probe'"
        ).fetchall()
    assert [(status, ended) for status, _, ended in rows] == [("failed", True)]
    assert rows[0][1] == "The database could not be reached."


def test_a_long_reader_holds_up_retention_and_nothing_else() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT create_monthly_partition('api_usage', (now() - interval '8 months')::date)")
        # What is missing when the template's month has ended is made before somebody reads, as it would be held up too.
        cursor.execute("SELECT create_api_usage_partitions()")
    with session() as reader:
        reader.execute("SELECT count(*) FROM api_usage")
        held_up = runner.run("daily", trigger="manual")
        assert held_up.outcome == "failed"
        assert held_up.run is not None
        failed = {name for name, step in held_up.run.detail.items() if step["status"] == "failed"}
        assert failed == {"cleanup_old_api_usage"}
        assert "gave up" in str(held_up.run.error)
    assert runner.run("daily", trigger="manual").outcome == "succeeded"
    assert JobRun.objects.filter(job="daily").latest("started_at").detail["cleanup_old_api_usage"]["rows"] == 1


def test_a_frozen_process_that_continues_changes_nothing_any_more() -> None:
    process = begun()
    session = in_the_server()
    os.kill(process.pid, signal.SIGSTOP)
    JobRun.objects.filter(job="probe").update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    with registered(function=lambda: Outcome(rows=7)):
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "succeeded"
    tell_server("pg_cancel_backend", session)
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout
    outcome, message = json.loads(process.stdout.read().splitlines()[-1])
    assert outcome == "failed"
    assert "lease was lost" in message
    assert JobRun.objects.get(job="probe").rows_affected == 7
