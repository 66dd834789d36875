-- The requests of a user that were recorded in the month that begins then, what is not folded yet included; for
-- take_rate_limit(), which asks only once the month has room for less than a tenth of its limit or for less than 1,000:
-- the queue has no index, as that would cost every insert, and reading it costs milliseconds. Until then a request that
-- nobody checked counts when it is folded, within a minute. Under a limit of 1,000 the rows themselves are few, have an
-- index, and are counted up to that limit.
CREATE FUNCTION recorded_requests(owner uuid, month_start timestamptz, monthly_limit bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    recorded bigint;
BEGIN
    IF monthly_limit > 1000 THEN
        SELECT m.total_requests INTO recorded
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    ELSE
        SELECT count(*) INTO recorded
        FROM (
            SELECT
            FROM api_usage AS a
            WHERE a.user_id = owner
                AND a.created_at >= month_start
                AND a.created_at < (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'
            LIMIT monthly_limit
        ) AS counted;
    END IF;
    RETURN coalesce(recorded, 0);
END
$$;

REVOKE EXECUTE ON FUNCTION recorded_requests(uuid, timestamptz, bigint) FROM public;
