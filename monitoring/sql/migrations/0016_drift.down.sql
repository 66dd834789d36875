-- Every check with its value, its thresholds and what to do. A value strictly beyond a threshold (below it, where lower
-- is worse) reaches it. A check that cannot be measured, or that this role may not see, is unknown and never ok.
CREATE OR REPLACE VIEW v_system_health AS
SELECT
    c.check_name,
    CASE
        WHEN m.value IS NULL THEN 'unknown'
        WHEN (c.lower_is_worse AND m.value < c.critical_at) OR (NOT c.lower_is_worse AND m.value > c.critical_at)
            THEN 'critical'
        WHEN (c.lower_is_worse AND m.value < c.warning_at) OR (NOT c.lower_is_worse AND m.value > c.warning_at)
            THEN 'warning'
        ELSE 'ok'
    END AS status,
    m.value,
    c.warning_at,
    c.critical_at,
    m.message,
    c.remediation,
    c.title,
    c.unit,
    c.lower_is_worse
FROM health_checks AS c
LEFT JOIN (
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
        i.check_name,
        i.value,
        i.message
    FROM health_of_security AS i
) AS m ON c.check_name = m.check_name
WHERE c.is_enabled;

DROP VIEW health_of_schema;

-- How each scheduled job stands: when it last succeeded, whether its last run failed, whether a slot passed unused.
CREATE OR REPLACE VIEW job_health AS
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
    WHERE r.job = s.job AND r.status IN ('succeeded', 'failed')
    ORDER BY r.started_at DESC
    LIMIT 1
) AS latest ON true
LEFT JOIN LATERAL (
    SELECT max(r.finished_at) AS finished_at
    FROM job_runs AS r
    WHERE r.job = s.job AND r.status = 'succeeded'
) AS success ON true;

DELETE FROM health_checks
WHERE check_name = 'drift';
