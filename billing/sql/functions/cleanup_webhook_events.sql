-- Deletes events that were processed or ignored more than `days` days ago; returns how many. Failed and dead ones stay.
CREATE FUNCTION cleanup_webhook_events(days int DEFAULT 30) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_webhook_events: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_webhook_events', 0));

    -- No date lies millions of days back.
    DELETE FROM stripe_webhook_events AS e
    WHERE e.status IN ('processed', 'ignored')
        AND coalesce(e.processed_at, e.received_at) < now() - least(days, 100000) * interval '24 hours';
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
