-- Checks on the task queue and the jobs. Without any worker or schedule ever seen a value is NULL: unknown.
CREATE VIEW health_of_queue AS
SELECT
    'queue_age' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - q.lock)) / 60, 1), 0)::numeric AS value,
    format('Tasks that wait for a worker: %s.', count(*)) AS message
FROM django_q_ormq AS q
WHERE q.lock <= now()
UNION ALL
SELECT
    'worker_silence' AS check_name,
    round(extract(EPOCH FROM now() - max(h.seen_at)) / 60, 1) AS value,
    coalesce(
        'The queue was last read at ' || date_trunc('second', max(h.seen_at)) || '.', 'No worker has ever run.'
    ) AS message
FROM worker_heartbeats AS h
WHERE h.role = 'pusher'
UNION ALL
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
FROM job_health AS j;
