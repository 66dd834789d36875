"""Keeps the tables of jobs, queue and sign-ins small; the figure of each step is the number of rows deleted."""

from monitoring.jobs.steps import Retention, Step


def _delete(name: str, table: str, condition: str) -> Step:
    return Step(name, f"SELECT delete_rows('{table}', $condition${condition}$condition$)")


# Runs of jobs that run more than hourly go after a week, others after 400 days. The latest success and the latest
# failure of each job stay, however old.
CLEANUP_JOB_RUNS = _delete(
    "cleanup_job_runs",
    "job_runs",
    """
    status <> 'running'
    AND started_at < now() - CASE
        WHEN (SELECT s.interval_seconds FROM job_schedules AS s WHERE s.job = job_runs.job) < 3600
            THEN interval '7 days'
        ELSE interval '400 days'
    END
    AND id NOT IN (SELECT r.id FROM last_job_runs AS r WHERE r.kind IN ('succeeded', 'failed'))
    """,
)

# The queue's failed tasks, and heartbeats of processes that are gone but for the last, which says since when. Only
# failed tasks are ever kept, as `save_limit` is -1: https://django-q2.readthedocs.io/en/master/configure.html
CLEANUP_QUEUE = (
    _delete("cleanup_tasks", "django_q_task", "stopped < now() - interval '30 days'"),
    _delete(
        "cleanup_heartbeats",
        "worker_heartbeats",
        "seen_at < now() - interval '1 day'"
        " AND id NOT IN (SELECT id FROM worker_heartbeats WHERE role = 'pusher' ORDER BY seen_at DESC LIMIT 1)",
    ),
)

# Sessions that ended, counts of failures by their own retention, and sign-ins.
CLEANUP_SIGN_INS = (
    _delete("cleanup_sessions", "django_session", "expire_date < now()"),
    _delete("cleanup_staff_sessions", "staff_sessions", "seen_at < now() - interval '30 days'"),
    _delete("cleanup_used_forms", "used_forms", "used_at < now() - interval '1 day'"),
    *(
        _delete(f"cleanup_{table}", table, "attempt_time < now() - interval '180 days'")
        for table in ("axes_accesslog", "axes_accessfailurelog", "axes_accessattempt")
    ),
    Step("cleanup_authentication_failures", "SELECT cleanup_authentication_failures()"),
)

# Who looked at whom.
CLEANUP_READS = Retention("cleanup_read_log", "SELECT cleanup_read_log()")

# What evaluations of the alerts measured.
CLEANUP_MEASUREMENTS = (
    _delete("cleanup_disk_samples", "disk_samples", "sampled_at < now() - interval '60 days'"),
    _delete("cleanup_measurements", "measurements", "measured_at < now() - interval '1 day'"),
)
