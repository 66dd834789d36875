-- Ends the processing of an event: NULL error, processed; else failed, to be tried again after 1, 5 and 30 minutes,
-- then 2, 5 and 10 hours (plus up to a quarter as jitter), and dead after 8 attempts. One that waits for somebody
-- (waits_for) is tried again after a day and never dies of it: all its attempts count as one. False when the event was
-- not being processed.
CREATE FUNCTION complete_webhook_processing(event_id text, error text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    max_attempts CONSTANT int := webhook_attempts();
    pauses CONSTANT interval [] := ARRAY['1 min', '5 min', '30 min', '2 h', '5 h', '10 h']::interval [];
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'complete_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET
        status = CASE
            WHEN error IS NULL THEN 'processed'
            WHEN e.waits_for IS NULL AND e.attempts >= max_attempts THEN 'dead'
            ELSE 'failed'
        END,
        attempts = CASE WHEN error IS NOT NULL AND e.waits_for IS NOT NULL THEN 1 ELSE e.attempts END,
        waits_for = CASE WHEN error IS NOT NULL THEN e.waits_for END,
        last_error = left(error, 5000),
        processed_at = CASE WHEN error IS NULL THEN clock_timestamp() END,
        next_retry_at = CASE
            WHEN error IS NOT NULL AND e.waits_for IS NOT NULL THEN clock_timestamp() + interval '1 day'
            WHEN error IS NOT NULL AND e.attempts < max_attempts THEN
                clock_timestamp()
                + pauses[least(greatest(e.attempts, 1), cardinality(pauses))] * (1::float8 + random() / 4::float8)
        END
    WHERE e.stripe_event_id = event_id AND e.status = 'processing';
    RETURN FOUND;
END
$$;
