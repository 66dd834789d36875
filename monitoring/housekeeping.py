"""Keeps monitoring's own tables small."""

from django.db import connection

KEEP_FREQUENT_RUNS_DAYS = 7
KEEP_RUNS_DAYS = 400
KEEP_FAILED_TASKS_DAYS = 30
KEEP_SIGN_INS_DAYS = 180


def purge_job_runs() -> int:
    """Deletes runs of jobs that run more than hourly after a week, others after 400 days; returns how many.

    The latest success and the latest failure of each job stay, however old.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH latest AS (
                SELECT DISTINCT ON (job, status) id FROM job_runs
                WHERE status IN ('succeeded', 'failed') ORDER BY job, status, started_at DESC
            )
            DELETE FROM job_runs AS run USING (
                SELECT job_runs.job, max(job_schedules.interval_seconds) AS seconds
                FROM job_runs LEFT JOIN job_schedules USING (job) GROUP BY job_runs.job
            ) AS pace
            WHERE pace.job = run.job AND run.status <> 'running' AND run.id NOT IN (SELECT id FROM latest)
                AND run.started_at < now() - CASE WHEN pace.seconds < 3600 THEN %s ELSE %s END * interval '1 day'
            """,
            [KEEP_FREQUENT_RUNS_DAYS, KEEP_RUNS_DAYS],
        )
        return int(cursor.rowcount)


def purge_queue() -> int:
    """Deletes the queue's failed tasks after 30 days and heartbeats of processes gone for a day; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_q_task WHERE stopped < now() - %s * interval '1 day'", [KEEP_FAILED_TASKS_DAYS]
        )
        tasks = int(cursor.rowcount)
        cursor.execute("DELETE FROM worker_heartbeats WHERE seen_at < now() - interval '1 day'")
        return tasks + int(cursor.rowcount)


def purge_sign_ins() -> int:
    """Deletes sessions that ended, counts of failures after 30 days and sign-ins after 180; returns how many."""
    deleted = 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT cleanup_authentication_failures()")
        deleted += int(cursor.fetchone()[0])
        cursor.execute("DELETE FROM django_session WHERE expire_date < now()")
        deleted += int(cursor.rowcount)
        for table in ("axes_accesslog", "axes_accessfailurelog", "axes_accessattempt"):
            cursor.execute(
                f"DELETE FROM {table} WHERE attempt_time < now() - %s * interval '1 day'", [KEEP_SIGN_INS_DAYS]
            )
            deleted += int(cursor.rowcount)
    return deleted
