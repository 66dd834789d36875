-- Deletes the windows that have ended; returns how many rows those were.
CREATE FUNCTION cleanup_rate_limits() RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('cleanup_rate_limits', 0));
    RETURN delete_rows('rate_limits', 'expires_at <= now()') + delete_rows('rate_limit_permits', 'expires_at <= now()');
END
$$;
