-- Deletes what is older than the given number of days and returns the number of windows deleted.
CREATE FUNCTION cleanup_authentication_failures(days int DEFAULT 30)
RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_authentication_failures', days);
    deleted int;
BEGIN
    DELETE FROM authentication_failures WHERE window_start < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
