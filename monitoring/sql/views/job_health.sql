-- How each scheduled job stands: when it last succeeded, how its last run ended, whether a slot passed unused.
CREATE VIEW job_health AS
SELECT
    s.job,
    s.enabled,
    s.next_due_at,
    success.finished_at AS last_success_at,
    latest.status AS last_status,
    latest.started_at AS last_started_at,
    latest.finished_at AS last_run_at,
    latest.error AS last_error,
    coalesce(latest.status = 'failed', false) AS has_failed,
    s.enabled AND coalesce(s.next_due_at + s.grace_seconds * interval '1 second' < now(), false) AS is_overdue
FROM job_schedules AS s
LEFT JOIN last_job_runs AS latest ON s.job = latest.job AND latest.kind = 'ended'
LEFT JOIN last_job_runs AS success ON s.job = success.job AND success.kind = 'succeeded';
