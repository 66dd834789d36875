-- Forgets request ids that were recorded more than `days` days ago; returns how many. A caller that sends one of them
-- again is counted again, so this is kept well longer than api_usage itself.
CREATE FUNCTION cleanup_api_usage_request_ids(days int DEFAULT 400) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_api_usage_request_ids: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_api_usage_request_ids', 0));
    -- No date lies millions of days back.
    DELETE FROM api_usage_request_ids AS r WHERE r.recorded_at < now() - least(days, 100000) * interval '24 hours';
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
