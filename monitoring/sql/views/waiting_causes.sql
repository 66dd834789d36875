-- What events wait for that somebody has to bring: one row a customer at Stripe, price or address.
CREATE VIEW waiting_causes AS
SELECT
    w.waits_for[1] AS cause,
    count(*) AS events,
    min(w.received_at) AS since,
    (array_agg(w.last_error ORDER BY w.received_at DESC))[1] AS error,
    (array_agg(w.stripe_event_id ORDER BY w.received_at DESC))[:1000] AS objects
FROM stripe_webhook_events AS w
WHERE w.status = 'failed' AND w.waits_for IS NOT NULL
GROUP BY w.waits_for[1];
