-- Checks on Stripe's events.
CREATE VIEW health_of_events AS
SELECT
    'failed_webhooks' AS check_name,
    coalesce(max(f.attempts), 0)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No event waits to be tried again.'
        ELSE format('Failed events that wait to be tried again: %s; most attempts: %s.', count(*), max(f.attempts))
    END AS message
FROM v_failed_webhook_events AS f
WHERE f.status = 'failed' AND f.waits_for IS NULL
UNION ALL
SELECT
    'waiting_events' AS check_name,
    count(*)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No event waits for a person.'
        ELSE format('What events wait for: %s.', count(*))
    END AS message
FROM waiting_causes AS c
WHERE
    NOT EXISTS (
        SELECT FROM unmatched_stripe_customers AS u
        WHERE u.stripe_customer_id = c.cause
    )
UNION ALL
SELECT
    'dead_webhooks' AS check_name,
    count(*)::numeric AS value,
    format('Events given up: %s.', count(*)) AS message
FROM v_failed_webhook_events AS f
WHERE f.status = 'dead'
UNION ALL
SELECT
    'webhook_delay' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - w.due_at)) / 60, 1), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'No event waits.'
        ELSE format('Events due: %s, the first since %s.', count(*), date_trunc('second', min(w.due_at)))
    END AS message
FROM (
    SELECT coalesce(e.next_retry_at, e.received_at) AS due_at
    FROM stripe_webhook_events AS e
    WHERE e.status IN ('pending', 'failed') AND coalesce(e.next_retry_at, e.received_at) <= now()
    UNION ALL
    -- A claim is void when its lease has run out: its worker died.
    SELECT coalesce(e.processing_started_at, e.received_at) AS due_at
    FROM stripe_webhook_events AS e
    WHERE e.status = 'processing' AND coalesce(e.processing_started_at, e.received_at) <= now() - webhook_lease()
) AS w;
