-- The failing events that wait for nobody, those of one cause together: the cause is what their errors have in common.
-- One alone is named, and its value is its attempts; of several the value is how many they are.
CREATE VIEW alerts_of_events AS
SELECT
    'failed_webhooks' AS check_name,
    g.cause,
    CASE WHEN g.dead > 0 OR g.attempts > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    CASE g.events
        WHEN 1 THEN format('%s %s', g.worst_type, g.worst_id)
        ELSE format('%s events fail for one cause', g.events)
    END AS subject,
    CASE g.events
        WHEN 1
            THEN format(
                '%s (attempts: %s): %s',
                CASE g.dead WHEN 1 THEN 'Given up' ELSE 'Failed' END, g.attempts, plain_error(g.worst_error)
            )
        ELSE format(
            '%sMost attempts: %s, of %s %s: %s',
            'Given up: ' || nullif(g.dead, 0) || '. ', g.attempts, g.worst_type, g.worst_id, plain_error(g.worst_error)
        )
    END AS message,
    CASE g.events WHEN 1 THEN g.attempts ELSE g.events END::numeric AS value,
    g.since AS detected_at,
    CASE g.events WHEN 1 THEN 'webhook_event' ELSE 'webhook_cause' END AS object_type,
    CASE g.events WHEN 1 THEN g.worst_id ELSE g.cause END AS object_id,
    g.objects
FROM (
    SELECT
        e.cause,
        count(*) AS events,
        count(*) FILTER (WHERE e.status = 'dead') AS dead,
        max(e.attempts) AS attempts,
        min(e.received_at) AS since,
        (array_agg(e.event_type ORDER BY e.attempts DESC, e.received_at ASC))[1] AS worst_type,
        (array_agg(e.stripe_event_id ORDER BY e.attempts DESC, e.received_at ASC))[1] AS worst_id,
        (array_agg(e.last_error ORDER BY e.attempts DESC, e.received_at ASC))[1] AS worst_error,
        (array_agg(e.stripe_event_id ORDER BY e.attempts DESC, e.received_at ASC))[:1000] AS objects
    FROM v_failed_webhook_events AS e
    INNER JOIN health_checks AS l ON l.check_name = 'failed_webhooks'
    WHERE e.waits_for IS NULL AND (e.status = 'dead' OR e.attempts > least(l.warning_at, l.critical_at))
    GROUP BY e.cause
) AS g
INNER JOIN health_checks AS t ON t.check_name = 'failed_webhooks';
