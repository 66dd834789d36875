-- Forgets request ids that were recorded more than `days` days ago; returns how many. A caller that sends one of them
-- again is counted again, so this is kept well longer than api_usage itself.
CREATE FUNCTION cleanup_api_usage_request_ids(days int DEFAULT 400) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_api_usage_request_ids', days);
    deleted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_api_usage_request_ids', 0));
    DELETE FROM api_usage_request_ids AS r WHERE r.recorded_at < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
