-- How many requests rate_limit_permits counts in a window; 0 for none.
CREATE FUNCTION last_rate_limit_permit(holder uuid, window_seconds int, window_start timestamptz) RETURNS bigint
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(max(p.number) FILTER (WHERE p.number > 0), 0)
    FROM (
        SELECT p.number
        FROM rate_limit_permits AS p
        WHERE p.holder = last_rate_limit_permit.holder
            AND p.window_seconds = last_rate_limit_permit.window_seconds
            AND p.window_start = last_rate_limit_permit.window_start
        ORDER BY p.number DESC
        LIMIT 1
    ) AS p
$$;

REVOKE EXECUTE ON FUNCTION last_rate_limit_permit(uuid, int, timestamptz) FROM public;
