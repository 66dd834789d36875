-- Forgets request ids that were recorded more than `days` days ago; returns how many. A caller that sends one of them
-- again is counted again, so this is kept well longer than api_usage itself.
CREATE FUNCTION cleanup_api_usage_request_ids(days int DEFAULT 400) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_api_usage_request_ids', days);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_api_usage_request_ids', 0));
    RETURN delete_rows('api_usage_request_ids', format('recorded_at < %L', cutoff));
END
$$;
