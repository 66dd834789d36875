-- Deletes the windows that have ended; returns how many.
CREATE FUNCTION cleanup_rate_limits() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_rate_limits', 0));
    DELETE FROM rate_limits AS r WHERE r.expires_at <= now();
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
