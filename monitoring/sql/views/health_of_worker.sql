-- The check on the workers: how long ago one of their clusters last showed that it works. Its pusher reads the queue,
-- and what it pulled is begun: one that pulled a task and whose workers, none of them within the limit of its task,
-- have done nothing since hangs. Where none has ever run the time counts from the installation on.
CREATE VIEW health_of_worker AS
SELECT
    'worker_silence' AS check_name,
    round(extract(EPOCH FROM now() - coalesce(max(c.worked_at), i.installed_at)) / 60, 2) AS value,
    CASE
        WHEN count(c.seen_at) = 0
            THEN format('No worker has ever run. The installation is of %s.', date_trunc('second', i.installed_at))
        WHEN bool_and(c.stopped_at IS NOT NULL)
            THEN format('The worker was stopped at %s.', date_trunc('second', max(c.stopped_at)))
        WHEN max(c.worked_at) < max(c.seen_at)
            THEN format('The worker hangs: it has begun nothing since %s.', date_trunc('second', max(c.worked_at)))
        ELSE format('The queue was last read at %s.', date_trunc('second', max(c.seen_at)))
    END AS message
FROM (
    SELECT min(m.applied) AS installed_at
    FROM django_migrations AS m
    WHERE m.app = 'monitoring'
) AS i
LEFT JOIN (
    SELECT
        h.host,
        h.cluster_pid,
        max(h.seen_at) FILTER (WHERE h.role = 'pusher') AS seen_at,
        max(h.stopped_at) AS stopped_at,
        CASE
            -- What was pulled this moment is begun in the next.
            WHEN
                max(h.pulled_at) > max(h.seen_at) FILTER (WHERE h.role = 'worker')
                AND max(h.pulled_at) < now() - interval '5 seconds'
                AND NOT coalesce(bool_or(h.task_deadline_at > now()), false)
                THEN max(h.seen_at) FILTER (WHERE h.role = 'worker')
            ELSE max(h.seen_at) FILTER (WHERE h.role = 'pusher')
        END AS worked_at
    FROM worker_heartbeats AS h
    GROUP BY h.host, h.cluster_pid
) AS c ON c.seen_at IS NOT NULL
GROUP BY i.installed_at;
