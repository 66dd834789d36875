-- Checks that a program measured: as the latest evaluation of the alerts found it. Nothing from before the last hour
-- counts. A NULL value is unknown.
CREATE VIEW health_of_machines AS
SELECT
    k.check_name,
    m.value,
    coalesce(m.message, 'Not measured within the last hour: an evaluation of the alerts does so.') AS message
FROM known_checks() AS k
LEFT JOIN LATERAL (
    SELECT
        n.value,
        n.message
    FROM measurements AS n
    WHERE n.check_name = k.check_name AND n.measured_at > now() - interval '1 hour'
    ORDER BY n.measured_at DESC
    LIMIT 1
) AS m ON true
WHERE k.measured_by = 'health_of_machines';
