-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_alerts', days);
    deleted bigint;
BEGIN
    DELETE FROM notifications AS n WHERE n.kind = 'report' AND n.report_on < (cutoff AT TIME ZONE 'UTC')::date;
    DELETE FROM alerts AS a WHERE a.state = 'resolved' AND a.resolved_at < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
