-- Whether a committed transaction has taken the number, whether or not this one's snapshot shows it: the unique index
-- knows. What is inserted to ask it is undone.
CREATE FUNCTION is_rate_limit_permit_taken(
    holder uuid, window_seconds int, window_start timestamptz, expires_at timestamptz, number bigint
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO rate_limit_permits (holder, window_seconds, window_start, expires_at, number)
    VALUES (holder, window_seconds, window_start, expires_at, number);
    RAISE SQLSTATE 'GF001';
EXCEPTION
    WHEN unique_violation THEN
        RETURN true;
    WHEN SQLSTATE 'GF001' THEN
        RETURN false;
END
$$;

REVOKE EXECUTE ON FUNCTION is_rate_limit_permit_taken(uuid, int, timestamptz, timestamptz, bigint) FROM public;
