-- Checks on the jobs. Without any schedule a value is NULL: unknown.
CREATE VIEW health_of_jobs AS
SELECT
    'overdue_jobs' AS check_name,
    nullif(count(*), 0) * 0 + count(*) FILTER (WHERE j.is_overdue) AS value,
    coalesce(
        'Overdue: ' || string_agg(j.job, ', ' ORDER BY j.job) FILTER (WHERE j.is_overdue) || '.',
        CASE WHEN count(*) = 0 THEN 'No job is scheduled.' ELSE 'Every job ran in time.' END
    ) AS message
FROM job_health AS j
WHERE j.enabled
UNION ALL
SELECT
    'failed_jobs' AS check_name,
    nullif(count(*), 0) * 0 + count(*) FILTER (WHERE j.has_failed) AS value,
    coalesce(
        'Failed: ' || string_agg(j.job, ', ' ORDER BY j.job) FILTER (WHERE j.has_failed) || '.',
        CASE WHEN count(*) = 0 THEN 'No job is scheduled.' ELSE 'The last run of every job succeeded.' END
    ) AS message
FROM job_health AS j
UNION ALL
SELECT
    'failures_in_a_row' AS check_name,
    coalesce(max(j.failures), 0)::numeric AS value,
    coalesce(
        string_agg(format('%s failed %s times in a row', j.job, j.failures), ', ' ORDER BY j.failures DESC, j.job ASC)
        FILTER (WHERE j.failures > 1) || '.',
        'No job failed twice in a row.'
    ) AS message
FROM (
    SELECT
        f.job,
        (
            SELECT count(*)
            FROM (
                SELECT
                FROM job_runs AS r
                WHERE
                    r.job = f.job AND r.status = 'failed'
                    AND r.started_at > coalesce(f.succeeded_at, '-infinity')
                LIMIT 1000 -- noqa: AM09
            ) AS runs
        ) AS failures
    FROM (
        SELECT
            h.job,
            s.started_at AS succeeded_at
        FROM job_health AS h
        LEFT JOIN last_job_runs AS s ON h.job = s.job AND s.kind = 'succeeded'
        WHERE h.has_failed
    ) AS f
) AS j
UNION ALL
SELECT
    'switched_off_jobs' AS check_name,
    count(*)::numeric AS value,
    coalesce(
        string_agg(
            format(
                '%s is switched off%s%s',
                s.job,
                ' since ' || date_trunc('second', s.switched_off_at),
                ' by ' || s.switched_off_by
            ),
            ', '
            ORDER BY s.job
        ) || '.',
        'Every job is switched on.'
    ) AS message
FROM job_schedules AS s
WHERE NOT s.enabled;
