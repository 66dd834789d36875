-- Makes failed events due that wait for `key`, a Stripe customer, a price or an e-mail address in lower case: it has
-- come. Returns how many; the job `webhooks` enqueues them within a minute.
CREATE FUNCTION retry_waiting_events(key text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    released bigint;
BEGIN
    IF key IS NULL OR key = '' THEN
        RAISE EXCEPTION 'retry_waiting_events: key is empty' USING ERRCODE = 'invalid_parameter_value';
    END IF;

    UPDATE stripe_webhook_events AS e
    SET next_retry_at = now()
    WHERE e.status = 'failed' AND e.waits_for @> ARRAY[key];
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
