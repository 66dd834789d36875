-- Removes what staff looked at more than `days` days ago; returns how many rows. Only the owner may go below 90 days.
CREATE FUNCTION cleanup_read_log(days int DEFAULT 90) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_read_log', days);
BEGIN
    IF days < 90 AND NOT is_owner_of('read_log') THEN
        RAISE EXCEPTION 'cleanup_read_log: days must be at least 90, not %', days
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only the owner of read_log may keep less.';
    END IF;
    RETURN delete_rows('read_log', format('occurred_at < %L', cutoff));
END
$$;

REVOKE EXECUTE ON FUNCTION cleanup_read_log(int) FROM public;
