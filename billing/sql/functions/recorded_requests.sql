-- The requests of a user that were recorded in the month that begins then, what is not folded yet included, and how
-- many of them do not count; for take_rate_limit(), which asks only once the month has room for less than a tenth of
-- its limit or for less than 1,000: the queue has no index, as that would cost every insert, and reading it costs
-- milliseconds. Until then a request that nobody checked counts when it is folded, within a minute. Under a limit of
-- 1,000 the rows themselves are few, have an index, and are counted up to that limit.
--
-- Where quota_rule leaves out what was not served, 5xx is recorded and does not count. Of what was answered with 429,
-- as many as were `refused` were never counted, and so are not among the recorded; what was answered so beyond them had
-- been allowed, and does not count. Where it is not known how many were refused (NULL), all are taken for refused.
CREATE FUNCTION recorded_requests(
    owner uuid,
    month_start timestamptz,
    monthly_limit bigint,
    refused bigint,
    OUT recorded bigint,
    OUT uncounted bigint
) RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    month_end CONSTANT timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    only_served CONSTANT boolean := coalesce((SELECT r.counts = 'served' FROM quota_rule AS r), false);
    -- What was not served leaves room, so that there may be more rows than the limit.
    most_rows CONSTANT bigint := CASE WHEN only_served THEN 1000 ELSE greatest(monthly_limit, 0) END;
    answered_429 bigint;
    answered_5xx bigint;
BEGIN
    IF monthly_limit <= 1000 THEN
        SELECT
            count(*),
            count(*) FILTER (WHERE counted.status_code = 429),
            count(*) FILTER (WHERE counted.status_code >= 500)
        INTO recorded, answered_429, answered_5xx
        FROM (
            SELECT a.status_code
            FROM api_usage AS a
            WHERE a.user_id = owner AND a.created_at >= month_start AND a.created_at < month_end
            LIMIT most_rows
        ) AS counted;
    END IF;
    IF monthly_limit > 1000 OR only_served AND recorded = most_rows THEN
        SELECT m.total_requests, m.throttled_requests, m.server_errors INTO recorded, answered_429, answered_5xx
        FROM monthly_usage_summary AS m
        WHERE m.user_id = owner AND m.month = (month_start AT TIME ZONE 'UTC')::date;
    END IF;
    recorded := coalesce(recorded, 0);
    uncounted := 0;
    IF only_served AND recorded > 0 THEN
        uncounted := answered_5xx + greatest(answered_429 - refused, 0);
        recorded := recorded - answered_429 + greatest(answered_429 - refused, 0);
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION recorded_requests(uuid, timestamptz, bigint, bigint) FROM public;
