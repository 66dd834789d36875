-- Deletes what is older than the given number of days and returns the number of windows deleted.
CREATE FUNCTION cleanup_authentication_failures(days int DEFAULT 30)
RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_authentication_failures', days);
BEGIN
    RETURN delete_rows('authentication_failures', format('window_start < %L', cutoff));
END
$$;
