"""The registry's jobs do what the SQL functions of the same name do."""

import pytest
from django.db import connection

from monitoring.jobs import runner
from monitoring.jobs.functions.housekeeping import CLEANUP_JOB_RUNS, CLEANUP_QUEUE, CLEANUP_SIGN_INS
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun, WorkerHeartbeat

pytestmark = pytest.mark.django_db


def tasks_of(function: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT task, status, error FROM {function}()")
        rows = cursor.fetchall()
    assert {status for _, status, _ in rows} == {"succeeded"}, rows
    return {task for task, _, _ in rows}


@pytest.mark.parametrize(
    "name", [name for name in JOBS if not JOBS[name].needs and name not in {"reconcile", "report"}]
)
def test_job_succeeds_on_an_empty_database(name: str) -> None:
    result = runner.run(name, trigger="manual")
    assert result.outcome == "succeeded", result.message


@pytest.mark.parametrize("period", ["daily", "weekly"])
def test_job_covers_every_task_of_the_sql_function(period: str) -> None:
    runner.run(period, trigger="manual")
    assert set(JobRun.objects.get(job=period).detail) >= tasks_of(f"run_{period}_maintenance")


def test_purge_keeps_the_latest_run_and_success_and_what_is_young() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO job_runs (job, scheduled_for, status, started_at)"
            " SELECT job, now() - n * interval '1 day', CASE WHEN n % 2 = 0 THEN 'succeeded' ELSE 'failed' END,"
            " now() - n * interval '1 day' FROM unnest(ARRAY['rollup', 'daily']) AS job, generate_series(5, 450) AS n"
        )
        cursor.execute(
            "INSERT INTO job_runs (job, status, started_at, scheduled_for) SELECT 'gone', 'succeeded',"
            " now() - interval '3 years', now() - interval '3 years'"
        )
    CLEANUP_JOB_RUNS.run()
    kept = dict.fromkeys(("rollup", "daily", "gone"), 0)
    for job in JobRun.objects.values_list("job", flat=True):
        kept[job] += 1
    assert kept == {"rollup": 3, "daily": 396, "gone": 1}


def test_purge_of_the_queue_keeps_living_workers() -> None:
    WorkerHeartbeat.objects.create(host="a", pid=1, cluster_pid=1, role="worker")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO worker_heartbeats (host, pid, cluster_pid, role, seen_at)"
            " VALUES ('b', 2, 2, 'worker', now() - interval '2 days')"
        )
    assert [step.run() for step in CLEANUP_QUEUE] == [0, 1]
    assert WorkerHeartbeat.objects.get().host == "a"


def test_purge_of_sign_ins_keeps_what_alerts_and_lockouts_read() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO authentication_failures (kind, source, window_start)"
            " SELECT 'api_key', '203.0.113.9', now() - n * interval '1 day' FROM unnest(ARRAY[1, 31]) AS n"
        )
        cursor.execute(
            "INSERT INTO django_session (session_key, session_data, expire_date)"
            " SELECT n::text, '', now() + n * interval '1 day' FROM unnest(ARRAY[-1, 1]) AS n"
        )
        assert [step.run() for step in CLEANUP_SIGN_INS] == [1, 0, 0, 0, 0, 0, 1]
        cursor.execute("SELECT count(*) FROM authentication_failures")
        assert cursor.fetchone() == (1,)
