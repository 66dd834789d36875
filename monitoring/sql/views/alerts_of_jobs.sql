-- The jobs that are overdue, together, as who should have run them is their cause; and those whose last run failed, by
-- what their errors have in common. One alone is named; of several the value is how many they are.
CREATE VIEW alerts_of_jobs AS
SELECT
    g.check_name,
    g.cause,
    CASE WHEN g.jobs > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    CASE
        WHEN g.jobs = 1 THEN g.names
        WHEN g.check_name = 'overdue_jobs' THEN format('%s jobs are past their time', g.jobs)
        ELSE format('%s jobs fail for one cause', g.jobs)
    END AS subject,
    CASE
        WHEN g.check_name = 'failed_jobs'
            THEN
                format(
                    'The last run%s failed: %s', ' of each of ' || nullif(g.names, g.objects[1]), plain_error(g.error)
                )
        WHEN g.jobs = 1 THEN format('Should have run by %s.', date_trunc('second', g.since))
        ELSE format('Overdue: %s, the first since %s.', g.names, date_trunc('second', g.since))
    END AS message,
    g.jobs::numeric AS value,
    g.since AS detected_at,
    CASE g.jobs WHEN 1 THEN 'job' ELSE 'check' END AS object_type,
    CASE g.jobs WHEN 1 THEN g.names END AS object_id,
    g.objects
FROM (
    SELECT
        'overdue_jobs' AS check_name,
        NULL AS cause,
        count(*) AS jobs,
        string_agg(h.job, ', ' ORDER BY h.job) AS names,
        array_agg(h.job ORDER BY h.job) AS objects,
        min(h.next_due_at) AS since,
        NULL AS error
    FROM job_health AS h
    WHERE h.is_overdue
    HAVING count(*) > 0
    UNION ALL
    SELECT
        'failed_jobs' AS check_name,
        left(md5(error_cause(plain_error(h.last_error))), 12) AS cause,
        count(*) AS jobs,
        string_agg(h.job, ', ' ORDER BY h.job) AS names,
        array_agg(h.job ORDER BY h.job) AS objects,
        min(h.last_run_at) AS since,
        min(h.last_error) AS error
    FROM job_health AS h
    WHERE h.has_failed
    GROUP BY error_cause(plain_error(h.last_error))
) AS g
INNER JOIN health_checks AS t ON g.check_name = t.check_name
WHERE g.jobs > least(t.warning_at, t.critical_at);
