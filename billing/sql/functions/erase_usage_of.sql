-- Takes addresses and messages from up to `most` requests of a customer, and the reasons of corrections; returns of how
-- many rows. Only for whom another person approved that. Nothing that is counted changes.
CREATE FUNCTION erase_usage_of(customer uuid, most int DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    erased bigint;
    corrected bigint;
BEGIN
    PERFORM require_approval('erase_customer', customer::text);
    UPDATE api_usage AS r
    SET ip_address = NULL, error_message = NULL
    FROM (
        SELECT o.id, o.created_at
        FROM api_usage AS o
        WHERE o.user_id = customer AND (o.ip_address IS NOT NULL OR o.error_message IS NOT NULL)
        LIMIT most
    ) AS f
    WHERE r.id = f.id AND r.created_at = f.created_at;
    GET DIAGNOSTICS erased = ROW_COUNT;
    UPDATE usage_corrections SET reason = '[erased]' WHERE user_id = customer AND reason <> '[erased]';
    GET DIAGNOSTICS corrected = ROW_COUNT;
    RETURN erased + corrected;
END
$$;

REVOKE EXECUTE ON FUNCTION erase_usage_of(uuid, int) FROM public;
