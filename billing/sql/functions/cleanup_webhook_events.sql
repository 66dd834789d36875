-- Deletes events that were processed or ignored more than `days` days ago; returns how many. Failed and dead ones stay.
CREATE FUNCTION cleanup_webhook_events(days int DEFAULT 30) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_webhook_events', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_webhook_events', 0));
    RETURN delete_rows(
        'stripe_webhook_events',
        format($c$status IN ('processed', 'ignored') AND coalesce(processed_at, received_at) < %L$c$, cutoff)
    );
END
$$;
