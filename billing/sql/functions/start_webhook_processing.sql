-- Claims an event for 15 minutes and counts the attempt. True to exactly one caller: for a pending event, one never
-- seen (a stub row is stored), a failed one that is due, or one whose lease ran out. An event whose eighth lease ran
-- out took its worker down every time: it is dead.
CREATE FUNCTION start_webhook_processing(event_id text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET intervalstyle = 'postgres'
AS $$
DECLARE
    lease CONSTANT interval := webhook_lease();
    max_attempts CONSTANT int := webhook_attempts();
    claimed text;
BEGIN
    IF event_id IS NULL OR event_id = '' THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF octet_length(event_id) > 255 THEN
        RAISE EXCEPTION 'start_webhook_processing: event_id has % octets, at most 255 are possible', octet_length(event_id)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO stripe_webhook_events AS e (stripe_event_id, status, attempts, processing_started_at)
    VALUES (event_id, 'processing', 1, clock_timestamp())
    ON CONFLICT (stripe_event_id) DO UPDATE
    SET
        status = CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 'dead' ELSE 'processing' END,
        attempts = least(e.attempts, 2147483646) + CASE WHEN e.status = 'processing' AND e.attempts >= max_attempts THEN 0 ELSE 1 END,
        last_error = CASE
            WHEN e.status = 'processing' THEN format('The worker of attempt %s did not finish within %s.', e.attempts, lease)
            ELSE e.last_error
        END,
        waits_for = NULL,
        next_retry_at = NULL,
        processing_started_at = clock_timestamp()
    WHERE e.status = 'pending'
        OR (e.status = 'failed' AND coalesce(e.next_retry_at, '-infinity') <= clock_timestamp())
        OR (e.status = 'processing' AND coalesce(e.processing_started_at, '-infinity') <= clock_timestamp() - lease)
    RETURNING e.status INTO claimed;

    RETURN coalesce(claimed = 'processing', false);
END
$$;
