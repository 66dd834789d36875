DROP TABLE reconciliation_seen;
DROP TABLE reconciliation_differences;
DROP TABLE reconciliation_runs;
DROP TABLE replay_runs;

-- Ends the processing of an event: NULL error, processed; else failed, to be tried again after 1, 2, 4 … minutes (at
-- most 6 hours, plus up to half as jitter), and dead after 8 attempts. False when the event was not being processed.
CREATE OR REPLACE FUNCTION complete_webhook_processing(event_id text, error text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    max_attempts CONSTANT int := 8;
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'complete_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET
        status = CASE WHEN error IS NULL THEN 'processed' WHEN e.attempts >= max_attempts THEN 'dead' ELSE 'failed' END,
        last_error = error,
        processed_at = CASE WHEN error IS NULL THEN clock_timestamp() END,
        next_retry_at = CASE
            WHEN error IS NOT NULL AND e.attempts < max_attempts THEN
                clock_timestamp() + least(interval '1 minute' * 2 ^ greatest(e.attempts - 1, 0), interval '6 hours') * (1 + random() / 2)
        END
    WHERE e.stripe_event_id = event_id AND e.status = 'processing';
    RETURN FOUND;
END
$$;
