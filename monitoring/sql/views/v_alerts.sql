-- Everything that somebody should know now: one row per check and object or cause. What follows from another alert is
-- muted, which names it. Thresholds are those of health_checks; a disabled check raises nothing.
CREATE VIEW v_alerts AS
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
FROM (
    SELECT jsonb_agg(to_jsonb(h)) AS rows
    FROM system_health() AS h
) AS health
CROSS JOIN LATERAL seen_alerts(health.rows) AS a
WHERE a.severity IS NOT NULL AND a.muted_by IS NULL;
