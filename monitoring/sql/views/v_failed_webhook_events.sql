-- Events whose processing failed and waits for its next attempt, or that were given up as dead. Those of one cause have
-- errors that differ in ids and numbers only.
CREATE VIEW v_failed_webhook_events AS
SELECT
    e.stripe_event_id,
    e.event_type,
    e.status,
    e.attempts,
    e.last_error,
    e.next_retry_at,
    e.received_at,
    left(md5(error_cause(e.last_error)), 12) AS cause,
    e.waits_for
FROM stripe_webhook_events AS e
WHERE e.status IN ('failed', 'dead');
