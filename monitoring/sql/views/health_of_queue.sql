-- The check on the task queue.
CREATE VIEW health_of_queue AS
SELECT
    'queue_age' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - q.lock)) / 60, 1), 0)::numeric AS value,
    format('Tasks that wait for a worker: %s.', count(*)) AS message
FROM django_q_ormq AS q
WHERE q.lock <= now();
