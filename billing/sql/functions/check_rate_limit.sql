-- Counts one request of a key if it is within the limits that its user is entitled to, per minute (of the key) and per
-- calendar month, UTC (of the user), and says so. Returns one row: allowed, how many more requests the tighter window
-- has room for, when that window ends, and the reason: ok; rate, too many this minute; quota, the month is used up;
-- key, the key is unknown, revoked or expired or its user is not active, and reset_at is NULL. A refused request is not
-- counted. Call it on its own: callers of one user wait for each other until their transactions end.
CREATE FUNCTION check_rate_limit(api_key_id uuid)
RETURNS TABLE (allowed boolean, remaining int, reset_at timestamptz, reason text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    taken record;
BEGIN
    IF check_rate_limit.api_key_id IS NULL THEN
        RAISE EXCEPTION 'check_rate_limit: api_key_id is NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    taken := take_rate_limit(check_rate_limit.api_key_id, 1);
    allowed := taken.granted = 1;
    remaining := least(taken.remaining, 2147483647);
    reset_at := taken.reset_at;
    reason := taken.reason;
    RETURN NEXT;
END
$$;

REVOKE EXECUTE ON FUNCTION check_rate_limit(uuid) FROM public;
