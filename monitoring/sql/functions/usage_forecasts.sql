-- Whether these customers' requests will fit into their limit of this calendar month (UTC): one row for each of them
-- with a live subscription. requests is what counts so far, exact; expected_requests the whole month's; reached_on the
-- day on which the limit is used up, which may be over, NULL where it holds; fitting_tier the cheapest plan that the
-- whole month fits into.
--
-- A day to come is expected to bring the mean of the same weekday in the last 28 days, and today what it has not
-- brought yet of that; whoever joined less than 28 days ago is measured by the whole days since, and by their mean over
-- all weekdays when those are fewer than 14. Days come from the folded traffic, which lags by a minute.
CREATE FUNCTION usage_forecasts(customers uuid[]) RETURNS TABLE (
    user_id uuid,
    requests bigint,
    monthly_request_limit bigint,
    expected_requests bigint,
    reached_on date,
    fitting_tier text
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    last_day CONSTANT date := (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month - 1 day')::date;
    wanted CONSTANT date[] := ARRAY(
        SELECT g::date FROM generate_series(least(this_month, today - 28)::timestamp, today::timestamp, interval '1 day') AS g
    );
BEGIN
    IF customers IS NULL THEN
        RAISE EXCEPTION 'usage_forecasts: customers must be a list of ids, not NULL'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
        SELECT s.user_id, s.total_requests
        FROM monthly_usage_summary AS s
        WHERE s.month = this_month AND s.user_id = ANY (customers)
    ),
    entitled AS MATERIALIZED (
        SELECT
            e.user_id, e.monthly_request_limit,
            coalesce(c.total_requests, 0) AS requests,
            greatest(today - 28, (u.created_at AT TIME ZONE 'UTC')::date, first_folded.day) AS since
        FROM entitlements AS e
        INNER JOIN users AS u ON u.id = e.user_id
        LEFT JOIN counted AS c ON c.user_id = e.user_id
        CROSS JOIN (SELECT min(d.day) AS day FROM traffic_days AS d) AS first_folded
        WHERE e.user_id = ANY (customers)
    ),
    -- A list of days, so that each is looked up by the key, which begins with the day.
    used AS MATERIALIZED (
        SELECT e.user_id, d.day, d.requests::float8 AS requests
        FROM entitled AS e
        CROSS JOIN LATERAL (
            SELECT t.day, t.requests FROM traffic_user_days AS t
            WHERE t.day = ANY (wanted) AND t.user_id = e.user_id
            OFFSET 0
        ) AS d
    ),
    -- The mean of a weekday; of weekday NULL, of every day.
    means AS (
        SELECT e.user_id, weekday, avg(coalesce(d.requests, 0)) AS requests
        FROM entitled AS e
        CROSS JOIN LATERAL generate_series(e.since::timestamp, today - interval '1 day', interval '1 day') AS g (day)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN today - e.since >= 14 THEN extract(isodow FROM g.day) END AS weekday
        ) AS w
        LEFT JOIN used AS d ON d.user_id = e.user_id AND d.day = g.day::date
        GROUP BY e.user_id, weekday
    ),
    to_come AS (
        SELECT
            e.user_id, g.day::date AS day,
            sum(
                CASE
                    WHEN g.day::date = today THEN greatest(coalesce(m.requests, 0) - coalesce(d.requests, 0), 0)
                    ELSE coalesce(m.requests, 0)
                END
            ) OVER (PARTITION BY e.user_id ORDER BY g.day) AS requests
        FROM entitled AS e
        CROSS JOIN generate_series(today::timestamp, last_day::timestamp, interval '1 day') AS g (day)
        LEFT JOIN means AS m
            ON m.user_id = e.user_id AND coalesce(m.weekday = extract(isodow FROM g.day), true)
        LEFT JOIN used AS d ON d.user_id = e.user_id AND d.day = g.day::date
    ),
    past AS (
        SELECT
            d.user_id, d.day,
            sum(d.requests) OVER (PARTITION BY d.user_id ORDER BY d.day) AS requests
        FROM used AS d
        WHERE d.day >= this_month
    ),
    forecast AS (
        SELECT
            e.user_id, e.requests, e.monthly_request_limit,
            (
                SELECT least(e.requests::float8 + round(max(t.requests)), 9e18)::bigint
                FROM to_come AS t WHERE t.user_id = e.user_id
            ) AS expected_requests,
            CASE
                WHEN e.requests >= e.monthly_request_limit THEN coalesce(
                    (
                        SELECT min(p.day) FROM past AS p
                        WHERE p.user_id = e.user_id AND p.requests >= e.monthly_request_limit::float8
                    ),
                    today
                )
                ELSE (
                    SELECT min(t.day) FROM to_come AS t
                    WHERE t.user_id = e.user_id AND e.requests::float8 + t.requests >= e.monthly_request_limit::float8
                )
            END AS reached_on
        FROM entitled AS e
    )
    SELECT
        f.user_id, f.requests, f.monthly_request_limit, f.expected_requests, f.reached_on,
        (
            SELECT p.tier FROM plans AS p
            WHERE p.monthly_request_limit IS NULL OR p.monthly_request_limit >= f.expected_requests
            ORDER BY p.price_cents ASC NULLS LAST, p.monthly_request_limit ASC NULLS LAST, p.tier
            LIMIT 1
        )
    FROM forecast AS f;
END
$$;
