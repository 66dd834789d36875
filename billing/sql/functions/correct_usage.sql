-- Corrects what a customer has used of a month, named by its first day (UTC), by so many requests more or, negative,
-- fewer; returns what counts then. Never below nothing. The reason goes into the audit log; the key says which one it
-- was about, and may be NULL. Under an idempotency key that was used before nothing is corrected again, and NULL
-- returned.
CREATE FUNCTION correct_usage(
    user_id uuid,
    month date,
    requests bigint,
    reason text,
    api_key_id uuid DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF correct_usage.user_id IS NULL OR correct_usage.month IS NULL OR coalesce(correct_usage.requests, 0) = 0
        OR coalesce(btrim(correct_usage.reason), '') = ''
    THEN
        RAISE EXCEPTION 'correct_usage: a customer, a month, requests other than 0 and a reason are needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF extract(DAY FROM correct_usage.month) <> 1::numeric THEN
        RAISE EXCEPTION 'correct_usage: % is not the first day of a month', correct_usage.month
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM users AS u WHERE u.id = correct_usage.user_id) THEN
        RAISE EXCEPTION 'correct_usage: there is no customer %', correct_usage.user_id
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO usage_corrections (user_id, month, requests, reason, api_key_id, idempotency_key)
    VALUES (
        correct_usage.user_id,
        correct_usage.month,
        correct_usage.requests,
        correct_usage.reason,
        correct_usage.api_key_id,
        correct_usage.idempotency_key
    )
    ON CONFLICT ON CONSTRAINT usage_corrections_idempotency_key_key DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT q.used_requests
        FROM quota_usage AS q
        WHERE q.user_id = correct_usage.user_id AND q.month = correct_usage.month
    );
END
$$;
