-- Every check with its value, its thresholds and what to do. A check that cannot be measured, or that this role may not
-- see, is unknown and never ok.
CREATE VIEW v_system_health AS
SELECT
    c.check_name,
    coalesce(j.status, 'unknown') AS status,
    j.value,
    c.warning_at,
    c.critical_at,
    j.message,
    c.remediation,
    c.title,
    c.unit,
    c.lower_is_worse
FROM health_checks AS c
LEFT JOIN judged_health AS j ON c.check_name = j.check_name
WHERE c.is_enabled;
