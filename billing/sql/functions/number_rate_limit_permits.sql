-- Takes the first `wanted` free numbers of a window, as many as are left up to its limit, for
-- take_rate_limit_permits(). `counted` is what rate_limits has counted in it, NULL without a row, and `used` what is
-- used at least. Returns how many were taken and what the window has used then. Numbers are taken in order, so the
-- first free one is found by asking for ever larger ones and then by halves.
CREATE FUNCTION number_rate_limit_permits(
    holder uuid,
    window_seconds int,
    window_start timestamptz,
    expires_at timestamptz,
    counted bigint,
    used bigint,
    window_limit bigint,
    wanted int,
    OUT granted int,
    OUT last bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    taken bigint := used - coalesce(counted, 0);
    highest CONSTANT bigint := window_limit - coalesce(counted, 0);
    step bigint := 1;
    free bigint;
    asked bigint;
BEGIN
    IF counted IS NULL AND is_rate_limit_permit_taken(holder, window_seconds, window_start, expires_at, -1) THEN
        RAISE EXCEPTION 'check_rate_limit: the window was begun by a caller under read committed'
            USING ERRCODE = 'serialization_failure', HINT = 'Try again in a new transaction.';
    END IF;
    granted := 0;
    last := window_limit;
    WHILE free IS NULL OR taken + 1 < free LOOP
        IF taken >= highest THEN
            RETURN;
        END IF;
        asked := CASE WHEN free IS NULL THEN least(taken + step, highest) ELSE (taken + free) / 2 END;
        IF is_rate_limit_permit_taken(holder, window_seconds, window_start, expires_at, asked) THEN
            taken := asked;
            step := step * 2;
        ELSE
            free := asked;
        END IF;
    END LOOP;

    granted := least(wanted, highest - taken);
    last := coalesce(counted, 0) + taken + granted;
    INSERT INTO rate_limit_permits (holder, window_start, window_seconds, number, expires_at)
    SELECT holder, window_start, window_seconds, n.number, expires_at
    FROM generate_series(taken + 1, taken + granted) AS n (number);
END
$$;

REVOKE EXECUTE ON FUNCTION number_rate_limit_permits(
    uuid, int, timestamptz, timestamptz, bigint, bigint, bigint, int
) FROM public;
