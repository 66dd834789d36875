-- Deletes events that were processed or ignored more than `days` days ago; returns how many. Failed and dead ones stay.
CREATE FUNCTION cleanup_webhook_events(days int DEFAULT 30) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_webhook_events', days);
    deleted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_webhook_events', 0));

    DELETE FROM stripe_webhook_events AS e
    WHERE e.status IN ('processed', 'ignored')
        AND coalesce(e.processed_at, e.received_at) < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
