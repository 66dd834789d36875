-- The runs of each job that say how it stands: the `latest`, even if it still goes on; the latest that `ended`; and the
-- latest that `did_not_fail`, `succeeded` or `failed`. A run that found that the job cannot be done here is skipped,
-- with 0 rows; a slot that met another run is skipped without rows, and is no run.
--
-- The jobs are found by stepping through the index: https://wiki.postgresql.org/wiki/Loose_indexscan. With = instead of
-- BETWEEN the planner would go back through the runs of all jobs until it meets one of this job.
CREATE VIEW last_job_runs AS
WITH RECURSIVE jobs AS (
    SELECT min(r.job) AS job
    FROM job_runs AS r
    UNION ALL
    SELECT (
        SELECT min(r.job)
        FROM job_runs AS r
        WHERE r.job > jobs.job
    ) AS job
    FROM jobs
    WHERE jobs.job IS NOT NULL
)

SELECT
    jobs.job,
    k.kind,
    run.id,
    run.status,
    run.started_at,
    run.finished_at,
    run.rows_affected,
    run.detail,
    run.error
FROM jobs
CROSS JOIN (
    VALUES
    ('latest', ARRAY['running', 'succeeded', 'failed', 'skipped']),
    ('ended', ARRAY['succeeded', 'failed', 'skipped']),
    ('did_not_fail', ARRAY['succeeded', 'skipped']),
    ('succeeded', ARRAY['succeeded']),
    ('failed', ARRAY['failed'])
) AS k (kind, statuses)
INNER JOIN LATERAL (
    SELECT r.*
    FROM job_runs AS r
    WHERE
        r.job BETWEEN jobs.job AND jobs.job
        AND r.status = any(k.statuses)
        AND (r.status <> 'skipped' OR r.rows_affected IS NOT NULL)
    ORDER BY r.job ASC, r.started_at DESC
    LIMIT 1
) AS run ON true
WHERE jobs.job IS NOT NULL;
