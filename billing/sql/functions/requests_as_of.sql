-- The requests of a user from the beginning of the calendar month (UTC) of a moment up to it, by their own dates; NULL
-- where that is not known any more. The month's total is exact at its last request, whatever became of the rows. Before
-- that the rows are counted, if they are all there still: not when their partition was dropped or some were deleted.
CREATE FUNCTION requests_as_of(owner uuid, at timestamptz) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
DECLARE
    month_start CONSTANT timestamptz := date_trunc('month', at, 'UTC');
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    total bigint;
    last_request_at timestamptz;
    kept bigint;
    requests bigint;
BEGIN
    SELECT m.total_requests, m.last_request_at INTO total, last_request_at
    FROM monthly_usage_summary AS m
    WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    IF total IS NULL OR last_request_at <= at THEN
        RETURN coalesce(total, 0);
    END IF;
    SELECT count(*), count(*) FILTER (WHERE a.created_at <= at) INTO kept, requests
    FROM api_usage AS a
    WHERE a.user_id = owner AND a.created_at >= month_start AND a.created_at < month_end;
    RETURN CASE WHEN kept = total THEN requests END;
END
$$;
