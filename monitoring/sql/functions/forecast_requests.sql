-- The requests to be expected in the 30 days from `as_of` (UTC) on, NULL: from today on, by the whole days before it;
-- one row. low_requests to high_requests is an 80 % interval. run_rate_requests is the last 30 days once more, the
-- forecast to beat; days_known the days there are, past_forecasts on how many earlier forecasts the interval rests.
--
-- A day is expected to bring the mean of the same weekday in the last four weeks, times the trend: the slope of a
-- straight line through the logarithms of the last weeks' sums, twelve at most, damped by 0.95 a week (E. S. Gardner
-- and E. McKenzie, "Forecasting trends in time series", Management Science 31, 1985, p. 1237-1246; R. J. Hyndman and G.
-- Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, section 8.2, https://otexts.com/fpp3/holt.html).
-- The interval is 1.28 standard deviations to both sides, as in their section 5.5, on the logarithm of the sum; the
-- deviation is that of the same forecast made on each earlier day of the last two years whose 30 days are over.
-- With less than four weeks the mean day is expected; with less than 71 days there is no interval.
CREATE FUNCTION forecast_requests(as_of date DEFAULT NULL) RETURNS TABLE (
    days_known int,
    expected_requests bigint,
    low_requests bigint,
    high_requests bigint,
    run_rate_requests bigint,
    past_forecasts int
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET datestyle = 'ISO'
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    opens CONSTANT date := coalesce(as_of, today);
BEGIN
    IF opens > today OR NOT isfinite(opens) THEN
        RAISE EXCEPTION 'forecast_requests: as_of must be a day up to today, not %', as_of
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    -- Days are counted back from the one before `opens`, which is 1.
    WITH days AS MATERIALIZED (
        SELECT opens - g.day::date AS back, coalesce(t.requests, 0)::float8 AS requests
        FROM generate_series(
            (
                SELECT greatest(min(f.day), opens - 844) FROM traffic_days AS f
                WHERE f.requests > 0 HAVING count(*) > 0
            )::timestamp,
            opens - interval '1 day',
            interval '1 day'
        ) AS g (day)
        LEFT JOIN traffic_days AS t ON t.day = g.day::date
    ),
    sums AS MATERIALIZED (
        SELECT
            d.back,
            d.requests,
            sum(d.requests) OVER (ORDER BY d.back DESC ROWS 6 PRECEDING) AS week,
            sum(d.requests) OVER (ORDER BY d.back DESC ROWS 29 PRECEDING) AS month,
            count(*) OVER (ORDER BY d.back DESC) AS known,
            (
                d.requests + lag(d.requests, 7) OVER oldest_first + lag(d.requests, 14) OVER oldest_first
                + lag(d.requests, 21) OVER oldest_first
            ) / 4::float8 AS same_weekday
        FROM days AS d
        WINDOW oldest_first AS (ORDER BY d.back DESC)
    ),
    -- A forecast is known by the last day before it.
    trends AS (
        SELECT o.back, coalesce(regr_slope(ln(greatest(w.week, 1)), (-n)::float8), 0) AS slope
        FROM sums AS o
        CROSS JOIN generate_series(0, 11) AS n
        INNER JOIN sums AS w ON w.back = o.back + 7 * n AND w.known >= 7
        WHERE o.known >= 28 AND (o.back = 1 OR o.back BETWEEN 31 AND 730)
        GROUP BY o.back
    ),
    -- The mean of the last four weeks stands for their middle, 13.5 days before the first day.
    forecasts AS MATERIALIZED (
        SELECT
            t.back,
            sum(
                s.same_weekday
                * exp(t.slope * 0.95::float8 * (1::float8 - power(0.95::float8, a.weeks)) / 0.05::float8)
            ) AS requests
        FROM trends AS t
        CROSS JOIN generate_series(1, 30) AS n
        CROSS JOIN LATERAL (SELECT (n::float8 + 13.5::float8) / 7::float8 AS weeks) AS a
        INNER JOIN sums AS s ON s.back = t.back + 6 - (n - 1) % 7
        GROUP BY t.back
    ),
    errors AS (
        SELECT
            count(*) AS forecasts,
            sqrt(avg(power(ln(greatest(s.month, 1) / greatest(f.requests, 1)), 2))) AS deviation
        FROM forecasts AS f
        INNER JOIN sums AS s ON s.back = f.back - 30
    ),
    expected AS (
        SELECT
            count(*)::int AS days_known,
            coalesce((SELECT f.requests FROM forecasts AS f WHERE f.back = 1), 30::float8 * avg(s.requests)) AS requests,
            sum(s.requests) FILTER (WHERE s.back <= 30) AS run_rate
        FROM sums AS s
    )
    SELECT
        x.days_known,
        CASE WHEN x.days_known > 0 THEN least(round(x.requests), 9e18)::bigint END,
        CASE WHEN e.forecasts >= 14 THEN least(round(x.requests / exp(w.width)), 9e18)::bigint END,
        CASE WHEN e.forecasts >= 14 THEN least(round(x.requests * exp(w.width)), 9e18)::bigint END,
        CASE WHEN x.days_known > 0 THEN least(x.run_rate, 9e18)::bigint END,
        e.forecasts::int
    FROM expected AS x
    CROSS JOIN errors AS e
    CROSS JOIN LATERAL (SELECT 1.2816::float8 * e.deviation AS width) AS w;
END
$$;
