-- Sets failed events with fewer than max_attempts attempts back to pending, due or not, and returns them. Dead events
-- stay dead: replaying one is a decision about that event.
CREATE FUNCTION retry_failed_webhooks(max_attempts int DEFAULT 3)
RETURNS TABLE (stripe_event_id text, event_type text, attempts int)
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF max_attempts IS NULL OR max_attempts < 1 THEN
        RAISE EXCEPTION 'retry_failed_webhooks: max_attempts must be at least 1, not %', coalesce(max_attempts::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('retry_failed_webhooks', 0));

    RETURN QUERY
    WITH retried AS (
        UPDATE stripe_webhook_events AS e
        SET status = 'pending', next_retry_at = NULL
        WHERE e.status = 'failed' AND e.attempts < max_attempts
        RETURNING e.stripe_event_id, e.event_type, e.attempts, e.received_at
    )
    SELECT r.stripe_event_id, r.event_type, r.attempts FROM retried AS r ORDER BY r.received_at, r.stripe_event_id;
END
$$;
