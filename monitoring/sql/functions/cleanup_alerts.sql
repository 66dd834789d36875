-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff timestamptz;
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_alerts: days must be 1 or more, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- No date lies millions of days back.
    cutoff := now() - least(days, 100000) * interval '24 hours';
    DELETE FROM notifications AS n WHERE n.kind = 'report' AND n.report_on < (cutoff AT TIME ZONE 'UTC')::date;
    DELETE FROM alerts AS a WHERE a.state = 'resolved' AND a.resolved_at < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
