-- Every check with its value, its thresholds and what to do. A check that cannot be measured, or that this role may not
-- see, is unknown and never ok.
CREATE VIEW v_system_health AS
SELECT
    h.check_name,
    h.status,
    h.value,
    h.warning_at,
    h.critical_at,
    h.message,
    h.remediation,
    h.title,
    h.unit,
    h.lower_is_worse,
    h.not_measured
FROM system_health() AS h;
