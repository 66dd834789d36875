-- Records one request of a key and returns true; false when its request id was recorded for the same user before, also
-- when that row's month has been dropped since, with a warning when it was another request. An unknown key is an error;
-- a revoked one is recorded, as the request was made. Texts that strangers determine are cut to what fits, and a longer
-- request id stands for itself by its hash: no request is lost by them.
CREATE FUNCTION record_api_usage(
    api_key_id uuid,
    endpoint text,
    method text,
    status_code int,
    response_time_ms int,
    request_bytes int DEFAULT NULL,
    response_bytes int DEFAULT NULL,
    ip_address inet DEFAULT NULL,
    error_message text DEFAULT NULL,
    request_id text DEFAULT NULL,
    created_at timestamptz DEFAULT now()
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    owner CONSTANT uuid := (SELECT k.user_id FROM api_keys AS k WHERE k.id = api_key_id);
    -- As billing.services.usage writes it. The default of created_at differs each time that a request is sent.
    content CONSTANT bigint := hashtextextended(format(
        '%s|%s|%s|%s|%s|%s|%s|%s', api_key_id, endpoint, method, status_code, response_time_ms, request_bytes,
        response_bytes, (extract(EPOCH FROM nullif(created_at, now())) * 1000000::numeric)::bigint
    ), 0);
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'record_api_usage: there is no API key %', coalesce(api_key_id::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF length(request_id) > 200 THEN
        request_id := 'sha256:' || encode(sha256(convert_to(request_id, 'UTF8')), 'hex');
    END IF;
    IF request_id <> '' THEN
        INSERT INTO api_usage_request_ids AS known (user_id, request_id, content_hash)
        VALUES (owner, request_id, content)
        ON CONFLICT ON CONSTRAINT api_usage_request_ids_pkey DO NOTHING;
        IF NOT FOUND THEN
            UPDATE api_usage_request_ids AS known
            SET conflicted_at = now()
            WHERE known.user_id = owner AND known.request_id = request_id AND known.content_hash <> content;
            IF FOUND THEN
                RAISE WARNING 'record_api_usage: request id % was recorded for another request; this one is not counted',
                    request_id;
            END IF;
            RETURN false;
        END IF;
    END IF;

    INSERT INTO api_usage (
        user_id, api_key_id, endpoint, method, status_code, response_time_ms, request_bytes, response_bytes,
        ip_address, error_message, request_id, created_at
    )
    VALUES (
        owner, api_key_id, left(endpoint, 500), left(method, 15), status_code, response_time_ms, request_bytes,
        response_bytes, ip_address, left(error_message, 2000), nullif(request_id, ''), coalesce(created_at, now())
    );
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION record_api_usage FROM public;
