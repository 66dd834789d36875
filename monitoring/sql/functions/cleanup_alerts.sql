-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_alerts', days);
BEGIN
    PERFORM delete_rows(
        'notifications', format($c$kind = 'report' AND report_on < %L$c$, (cutoff AT TIME ZONE 'UTC')::date)
    );
    RETURN delete_rows('alerts', format($c$state = 'resolved' AND resolved_at < %L$c$, cutoff));
END
$$;
