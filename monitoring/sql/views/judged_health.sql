-- What each enabled check measures, judged by its thresholds. A value strictly beyond a threshold (below it, where
-- lower is worse) reaches it. The name is the measurement's own, so that asking for some checks measures only those.
CREATE VIEW judged_health AS
SELECT
    m.check_name,
    CASE
        WHEN m.value IS NULL THEN 'unknown'
        WHEN (c.lower_is_worse AND m.value < c.critical_at) OR (NOT c.lower_is_worse AND m.value > c.critical_at)
            THEN 'critical'
        WHEN (c.lower_is_worse AND m.value < c.warning_at) OR (NOT c.lower_is_worse AND m.value > c.warning_at)
            THEN 'warning'
        ELSE 'ok'
    END AS status,
    m.value,
    m.message,
    c.title
FROM (
    SELECT
        b.check_name,
        b.value,
        b.message
    FROM health_of_billing AS b
    UNION ALL
    SELECT
        r.check_name,
        r.value,
        r.message
    FROM health_of_requests AS r
    UNION ALL
    SELECT
        q.check_name,
        q.value,
        q.message
    FROM health_of_queue AS q
    UNION ALL
    SELECT
        s.check_name,
        s.value,
        s.message
    FROM health_of_server AS s
    UNION ALL
    SELECT
        k.check_name,
        k.value,
        k.message
    FROM health_of_backups AS k
    UNION ALL
    SELECT
        d.check_name,
        d.value,
        d.message
    FROM health_of_schema AS d
    UNION ALL
    SELECT
        i.check_name,
        i.value,
        i.message
    FROM health_of_security AS i
) AS m
INNER JOIN health_checks AS c ON m.check_name = c.check_name
WHERE c.is_enabled;
