"""Keeps the tables of jobs, queue and sign-ins small; the figure of each step is the number of rows deleted."""

from monitoring.jobs.steps import Step

# Runs of jobs that run more than hourly go after a week, others after 400 days. The latest success and the latest
# failure of each job stay, however old.
CLEANUP_JOB_RUNS = Step(
    "cleanup_job_runs",
    """
    WITH deleted AS (
        DELETE FROM job_runs AS run USING (
            SELECT job_runs.job, max(job_schedules.interval_seconds) AS seconds
            FROM job_runs LEFT JOIN job_schedules USING (job) GROUP BY job_runs.job
        ) AS pace
        WHERE pace.job = run.job AND run.status <> 'running'
            AND run.started_at
            < now() - CASE WHEN pace.seconds < 3600 THEN interval '7 days' ELSE interval '400 days' END
            AND run.id NOT IN (SELECT id FROM last_job_runs WHERE kind IN ('succeeded', 'failed'))
        RETURNING 1
    )
    SELECT count(*) FROM deleted
    """,
)

# The queue's failed tasks, and heartbeats of processes that are gone but for the last, which says since when. Only
# failed tasks are ever kept, as `save_limit` is -1: https://django-q2.readthedocs.io/en/master/configure.html
CLEANUP_QUEUE = Step(
    "cleanup_queue",
    """
    WITH tasks AS (DELETE FROM django_q_task WHERE stopped < now() - interval '30 days' RETURNING 1),
    heartbeats AS (
        DELETE FROM worker_heartbeats WHERE seen_at < now() - interval '1 day'
            AND id NOT IN (SELECT id FROM worker_heartbeats WHERE role = 'pusher' ORDER BY seen_at DESC LIMIT 1)
        RETURNING 1
    )
    SELECT count(*) FROM (TABLE tasks UNION ALL TABLE heartbeats) AS deleted
    """,
)

# Sessions that ended, counts of failures by their own retention, and sign-ins.
CLEANUP_SIGN_INS = Step(
    "cleanup_sign_ins",
    """
    WITH sessions AS (DELETE FROM django_session WHERE expire_date < now() RETURNING 1),
    accesses AS (DELETE FROM axes_accesslog WHERE attempt_time < now() - interval '180 days' RETURNING 1),
    failures AS (DELETE FROM axes_accessfailurelog WHERE attempt_time < now() - interval '180 days' RETURNING 1),
    attempts AS (DELETE FROM axes_accessattempt WHERE attempt_time < now() - interval '180 days' RETURNING 1)
    SELECT count(*) + cleanup_authentication_failures() FROM (
        TABLE sessions UNION ALL TABLE accesses UNION ALL TABLE failures UNION ALL TABLE attempts
    ) AS deleted
    """,
)

# What evaluations of the alerts measured.
CLEANUP_MEASUREMENTS = Step(
    "cleanup_measurements",
    """
    WITH samples AS (DELETE FROM disk_samples WHERE sampled_at < now() - interval '60 days' RETURNING 1),
    measured AS (DELETE FROM measurements WHERE measured_at < now() - interval '1 day' RETURNING 1)
    SELECT count(*) FROM (TABLE samples UNION ALL TABLE measured) AS deleted
    """,
)
