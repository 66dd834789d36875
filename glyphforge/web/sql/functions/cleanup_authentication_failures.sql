-- Deletes what is older than the given number of days and returns the number of windows deleted.
CREATE FUNCTION cleanup_authentication_failures(days int DEFAULT 30)
RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    deleted int;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_authentication_failures: days must be at least 1, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- No date lies millions of days back.
    DELETE FROM authentication_failures WHERE window_start < now() - least(days, 100000) * interval '24 hours';
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
