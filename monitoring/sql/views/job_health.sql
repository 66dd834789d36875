-- How each scheduled job stands: when it last succeeded, whether its last run failed, whether a slot passed unused. A
-- run that found that the job cannot be done here is skipped, with 0 rows; a slot that met another run has none.
CREATE VIEW job_health AS
SELECT
    s.job,
    s.enabled,
    s.next_due_at,
    success.finished_at AS last_success_at,
    latest.finished_at AS last_run_at,
    latest.error AS last_error,
    coalesce(latest.status = 'failed', false) AS has_failed,
    s.enabled AND coalesce(s.next_due_at + s.grace_seconds * interval '1 second' < now(), false) AS is_overdue
FROM job_schedules AS s
LEFT JOIN LATERAL (
    SELECT
        r.status,
        r.finished_at,
        r.error
    FROM job_runs AS r
    WHERE
        r.job = s.job
        AND (r.status IN ('succeeded', 'failed') OR (r.status = 'skipped' AND r.rows_affected IS NOT NULL))
    ORDER BY r.started_at DESC
    LIMIT 1
) AS latest ON true
LEFT JOIN LATERAL (
    SELECT max(r.finished_at) AS finished_at
    FROM job_runs AS r
    WHERE r.job = s.job AND r.status = 'succeeded'
) AS success ON true;
