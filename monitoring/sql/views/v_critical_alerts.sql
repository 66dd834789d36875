-- The alerts that need somebody at once.
CREATE VIEW v_critical_alerts AS
SELECT
    a.fingerprint,
    a.severity,
    a.alert_type,
    a.subject,
    a.message,
    a.remediation,
    a.value,
    a.detected_at,
    a.object_type,
    a.object_id,
    a.objects,
    a.consequences,
    a.silenced_until
FROM v_alerts AS a
WHERE a.severity = 'critical';
