-- The checks that are measured, with their thresholds and remedies.
CREATE VIEW enabled_checks AS
SELECT
    c.check_name,
    c.title,
    c.unit,
    c.lower_is_worse,
    c.warning_at,
    c.critical_at,
    c.remediation
FROM health_checks AS c
WHERE c.is_enabled;

-- What it says is no secret, and who may read v_system_health reads it as themselves.
GRANT SELECT ON enabled_checks TO public;
