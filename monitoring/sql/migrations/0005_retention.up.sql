-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! functions/forecast_requests
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

--! functions/usage_forecasts
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

--! views/first_payments
-- The first payment of each customer that was not taken back, and its month (UTC): the customer's cohort.
CREATE VIEW first_payments AS
SELECT DISTINCT ON (p.user_id)
    p.user_id,
    p.paid_at,
    p.currency,
    date_trunc('month', p.paid_at AT TIME ZONE 'UTC')::date AS cohort
FROM payment_history AS p
WHERE p.paid_at IS NOT NULL
ORDER BY p.user_id ASC, p.paid_at ASC, p.currency ASC;

--! views/monthly_mrr_movements
-- The ledger of recurring revenue by calendar month (UTC). What is dated ahead of today does not count yet, as in
-- daily_mrr.
CREATE VIEW monthly_mrr_movements AS
SELECT
    m.id,
    m.user_id,
    m.kind,
    m.currency,
    m.amount_cents,
    m.before_cents,
    m.after_cents,
    m.tier_before,
    m.tier_after,
    date_trunc('month', m.occurred_at AT TIME ZONE 'UTC')::date AS month,
    CASE WHEN m.before_cents = 0 THEN 1 WHEN m.after_cents = 0 THEN -1 ELSE 0 END AS customers
FROM mrr_movements AS m
WHERE m.occurred_at < (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC';

--! views/v_mrr_retention
-- How the recurring revenue of each calendar month (UTC) came to be, by currency and plan, and over all plans in the
-- rows of the tier "all"; the last month is as of now. A customer counts once a month, by what they paid at its start
-- and at its end, so who leaves and is back within a month has left nothing. The plan is the one they had at the start;
-- of those who were not paying then, the one they have at the end.
--
-- nrr_percent: what the customers of the start pay at the end, of what they paid at the start. grr_percent: the same,
-- where nobody counts with more than before. quick_ratio: what was gained (new, reactivation, expansion) over what was
-- lost (contraction, churn); NULL where nothing was lost.
CREATE VIEW v_mrr_retention AS
WITH by_customer AS (
    SELECT
        m.user_id,
        m.currency,
        m.month,
        (array_agg(m.before_cents ORDER BY m.id))[1] AS start_cents,
        sum(m.amount_cents) AS net_cents,
        (array_agg(m.tier_before ORDER BY m.id))[1] AS tier_at_start,
        (array_agg(m.tier_after ORDER BY m.id DESC))[1] AS tier_at_end,
        bool_or(m.kind = 'new') AS is_new
    FROM monthly_mrr_movements AS m
    GROUP BY m.user_id, m.currency, m.month
),

changed AS (
    SELECT
        c.currency,
        c.month,
        coalesce(c.tier_at_start, c.tier_at_end) AS tier,
        count(*) FILTER (WHERE c.start_cents > 0 AND c.start_cents + c.net_cents = 0) AS customers_lost,
        count(*) FILTER (WHERE c.start_cents = 0) AS customers_gained,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents = 0 AND c.is_new), 0) AS new_cents,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents = 0 AND NOT c.is_new), 0) AS reactivation_cents,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents > 0 AND c.net_cents > 0), 0) AS expansion_cents,
        coalesce(
            sum(c.net_cents) FILTER (WHERE c.start_cents > 0 AND c.net_cents < 0 AND c.start_cents + c.net_cents > 0), 0
        ) AS contraction_cents,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents > 0 AND c.start_cents + c.net_cents = 0), 0)
            AS churn_cents
    FROM by_customer AS c
    -- Whoever came and left within the month was there neither at its start nor at its end.
    WHERE c.start_cents > 0 OR c.start_cents + c.net_cents > 0
    GROUP BY c.currency, c.month, coalesce(c.tier_at_start, c.tier_at_end)
),

moved AS (
    SELECT
        m.currency,
        m.month,
        side.tier,
        sum(side.cents) AS cents,
        sum(side.sign) AS customers
    FROM monthly_mrr_movements AS m
    CROSS JOIN
        LATERAL (
            VALUES (m.tier_before, -m.before_cents, -1), (m.tier_after, m.after_cents, 1)
        ) AS side (tier, cents, sign)
    WHERE side.tier IS NOT NULL
    GROUP BY m.currency, m.month, side.tier
),

months AS (
    SELECT
        books.currency,
        books.tier,
        opens::date AS month
    FROM (
        SELECT
            moved.currency,
            moved.tier,
            min(moved.month) AS month
        FROM moved
        GROUP BY moved.currency, moved.tier
    ) AS books
    CROSS JOIN LATERAL generate_series(
        books.month::timestamp, date_trunc('month', now() AT TIME ZONE 'UTC'), interval '1 month'
    ) AS opens
),

opening AS (
    SELECT
        months.currency,
        months.tier,
        months.month,
        coalesce(sum(moved.cents) OVER before, 0) AS start_cents,
        coalesce(sum(moved.customers) OVER before, 0) AS customers_at_start
    FROM months
    LEFT JOIN moved ON months.currency = moved.currency AND months.tier = moved.tier AND months.month = moved.month
    WINDOW before AS (
        PARTITION BY months.currency, months.tier
        ORDER BY months.month
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

summed AS (
    SELECT
        o.month,
        o.currency,
        coalesce(o.tier, 'all') AS tier,
        sum(o.customers_at_start)::bigint AS customers_at_start,
        coalesce(sum(c.customers_lost), 0)::bigint AS customers_lost,
        coalesce(sum(c.customers_gained), 0)::bigint AS customers_gained,
        sum(o.start_cents)::bigint AS start_cents,
        coalesce(sum(c.new_cents), 0)::bigint AS new_cents,
        coalesce(sum(c.reactivation_cents), 0)::bigint AS reactivation_cents,
        coalesce(sum(c.expansion_cents), 0)::bigint AS expansion_cents,
        coalesce(sum(c.contraction_cents), 0)::bigint AS contraction_cents,
        coalesce(sum(c.churn_cents), 0)::bigint AS churn_cents
    FROM opening AS o
    LEFT JOIN changed AS c ON o.currency = c.currency AND o.tier = c.tier AND o.month = c.month
    GROUP BY GROUPING SETS ((o.month, o.currency, o.tier), (o.month, o.currency))
)

SELECT
    s.month,
    s.currency,
    s.tier,
    s.customers_at_start,
    s.customers_lost,
    s.customers_gained,
    s.start_cents,
    s.new_cents,
    s.reactivation_cents,
    s.expansion_cents,
    s.contraction_cents,
    s.churn_cents,
    s.start_cents + s.new_cents + s.reactivation_cents + s.expansion_cents + s.contraction_cents + s.churn_cents
        AS end_cents,
    round(
        100.0 * (s.start_cents + s.expansion_cents + s.contraction_cents + s.churn_cents) / nullif(s.start_cents, 0), 2
    ) AS nrr_percent,
    round(100.0 * (s.start_cents + s.contraction_cents + s.churn_cents) / nullif(s.start_cents, 0), 2) AS grr_percent,
    round(
        (s.new_cents + s.reactivation_cents + s.expansion_cents)::numeric
        / nullif(-s.contraction_cents - s.churn_cents, 0),
        2
    ) AS quick_ratio,
    concat_ws(' ', to_char(s.month, 'YYYY-MM'), s.currency, s.tier) AS id
FROM summed AS s;

--! views/v_lifetime_value
-- What a customer is worth by currency and plan, and over all plans in the rows of the tier "all": expected and as
-- realised. Before costs, without taxes.
--
-- ltv_cents is what a customer pays a month, divided by the share that leaves a month, over the last 12 whole months
-- (UTC): arpu_cents / churn_percent. The interval is that of the share, for 95 %: each month of each customer is a
-- trial that they leave with the same chance, and its bounds are E. B. Wilson's (Journal of the American Statistical
-- Association 22, 1927, p. 209-212). Nobody left: no value and no upper bound. The formula is Stripe's, see
-- https://docs.stripe.com/billing/subscriptions/analytics
--
-- realised_cents is what came in so far of those who ever paid in the currency, less refunds and disputes, for one of
-- them; left_realised_cents the same of those who pay no more, whose value will not grow. Their plan is the last they
-- paid for, "free" where they never had a paid one.
CREATE VIEW v_lifetime_value AS
WITH observed AS (
    SELECT
        r.currency,
        r.tier,
        sum(r.customers_at_start) AS customer_months,
        sum(r.customers_lost) AS customers_lost,
        sum(r.start_cents) AS cents
    FROM v_mrr_retention AS r
    WHERE
        r.month >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 months')::date
        AND r.month < date_trunc('month', now() AT TIME ZONE 'UTC')::date
    GROUP BY r.currency, r.tier
),

rates AS (
    SELECT
        o.currency,
        o.tier,
        o.customer_months,
        o.customers_lost,
        o.cents / o.customer_months AS arpu_cents,
        o.customers_lost / o.customer_months AS churn,
        (
            o.customers_lost + 1.96 ^ 2 / 2
            - 1.96 * sqrt(o.customers_lost * (o.customer_months - o.customers_lost) / o.customer_months + 1.96 ^ 2 / 4)
        ) / (o.customer_months + 1.96 ^ 2) AS low,
        (
            o.customers_lost + 1.96 ^ 2 / 2
            + 1.96 * sqrt(o.customers_lost * (o.customer_months - o.customers_lost) / o.customer_months + 1.96 ^ 2 / 4)
        ) / (o.customer_months + 1.96 ^ 2) AS high
    FROM observed AS o
    WHERE o.customer_months > 0
),

plans_paid AS (
    SELECT DISTINCT ON (m.user_id)
        m.user_id,
        coalesce(m.tier_after, m.tier_before) AS tier,
        m.after_cents > 0 AS is_paying
    FROM mrr_movements AS m
    ORDER BY m.user_id ASC, m.id DESC
),

came_in AS (
    SELECT
        p.user_id,
        p.currency,
        sum(p.amount_cents - p.refunded_cents - p.disputed_cents) AS cents
    FROM payment_history AS p
    WHERE p.paid_at IS NOT NULL
    GROUP BY p.user_id, p.currency
),

realised AS (
    SELECT
        came_in.currency,
        coalesce(by_tier.tier, 'all') AS tier,
        count(*) AS customers,
        avg(came_in.cents) AS cents,
        count(*) FILTER (WHERE plans_paid.is_paying IS NOT TRUE) AS customers_left,
        avg(came_in.cents) FILTER (WHERE plans_paid.is_paying IS NOT TRUE) AS cents_of_left
    FROM came_in
    LEFT JOIN plans_paid ON came_in.user_id = plans_paid.user_id
    CROSS JOIN LATERAL (SELECT coalesce(plans_paid.tier, 'free') AS tier) AS by_tier
    GROUP BY GROUPING SETS ((came_in.currency, by_tier.tier), (came_in.currency))
)

SELECT
    coalesce(rates.currency, realised.currency) AS currency,
    coalesce(rates.tier, realised.tier) AS tier,
    coalesce(rates.customer_months, 0)::bigint AS customer_months,
    coalesce(rates.customers_lost, 0)::bigint AS customers_lost,
    round(rates.arpu_cents)::bigint AS arpu_cents,
    round(100 * rates.churn, 2) AS churn_percent,
    round(rates.arpu_cents / nullif(rates.churn, 0))::bigint AS ltv_cents,
    round(rates.arpu_cents / rates.high)::bigint AS ltv_low_cents,
    CASE WHEN rates.customers_lost > 0 THEN round(rates.arpu_cents / rates.low)::bigint END AS ltv_high_cents,
    coalesce(realised.customers, 0) AS realised_customers,
    round(realised.cents)::bigint AS realised_cents,
    coalesce(realised.customers_left, 0) AS left_customers,
    round(realised.cents_of_left)::bigint AS left_realised_cents,
    concat_ws(' ', coalesce(rates.currency, realised.currency), coalesce(rates.tier, realised.tier)) AS id
FROM rates
FULL JOIN realised ON rates.currency = realised.currency AND rates.tier = realised.tier;

--! views/v_renewals
-- What comes of itself of subscriptions that are live and paid for: the renewals of the next 30 days, the first charges
-- after a trial, and the cancellations that are booked, whenever they are. amount_cents is what a period costs, of a
-- cancellation what is lost a month; before taxes, credit and usage. Of a price only a month's is known, so that of
-- other periods it may be rounded. Periods shorter than 30 days come more than once.
CREATE VIEW v_renewals AS
WITH paid AS (
    SELECT
        s.id,
        s.user_id,
        s.tier,
        s.status,
        s.price_cents,
        s.currency,
        s.collection_paused,
        s.current_period_end AT TIME ZONE 'UTC' AS period_end,
        s.trial_end AT TIME ZONE 'UTC' AS trial_end,
        coalesce(s.cancel_at, CASE WHEN s.cancel_at_period_end THEN s.current_period_end END) AT TIME ZONE 'UTC'
            AS ends,
        one.months,
        one.step,
        one.most,
        -- Of a quarterly price the interval is month. A trial is no period of the price.
        CASE
            WHEN s.status = 'trialing' THEN 1
            ELSE greatest(
                1,
                round(
                    extract(EPOCH FROM s.current_period_end - s.current_period_start)
                    / 86400
                    / (one.months * 365 / 12.0)
                )::int
            )
        END AS intervals
    FROM subscriptions AS s
    INNER JOIN (
        VALUES
        ('day', 12 / 365.0, interval '1 day', 31),
        ('week', 84 / 365.0, interval '7 days', 5),
        ('month', 1.0, interval '1 month', 2),
        ('year', 12.0, interval '1 year', 1)
    ) AS one ("interval", months, step, most) ON s."interval" = one."interval"
    WHERE
        s.status IN ('active', 'past_due', 'trialing') AND s.tier <> 'free' AND s.price_cents > 0
        AND NOT s.is_duplicate
),

due AS (
    SELECT
        p.id,
        p.user_id,
        p.tier,
        CASE WHEN p.status = 'trialing' AND n = 0 THEN 'trial_end' ELSE 'renewal' END AS kind,
        dated.at,
        round(p.price_cents * p.months * p.intervals)::bigint AS amount_cents,
        p.currency
    FROM paid AS p
    CROSS JOIN generate_series(0, p.most) AS n
    CROSS JOIN
        LATERAL (
            SELECT
                CASE WHEN p.status = 'trialing' THEN coalesce(p.trial_end, p.period_end) ELSE p.period_end END
                + n * p.intervals * p.step AS at
        ) AS dated
    WHERE
        p.collection_paused IS NULL AND (p.ends IS NULL OR dated.at < p.ends)
        AND dated.at >= now() AT TIME ZONE 'UTC' AND dated.at < now() AT TIME ZONE 'UTC' + interval '30 days'
    UNION ALL
    SELECT
        p.id,
        p.user_id,
        p.tier,
        'cancellation' AS kind,
        p.ends AS at,
        p.price_cents AS amount_cents,
        p.currency
    FROM paid AS p
    WHERE p.ends IS NOT NULL
)

SELECT
    due.id AS subscription_id,
    due.user_id,
    u.email,
    due.tier,
    due.kind,
    due.at AT TIME ZONE 'UTC' AS due_at,
    due.amount_cents,
    due.currency,
    concat_ws(' ', due.id, due.kind, to_char(due.at, 'YYYY-MM-DD')) AS id
FROM due
INNER JOIN users AS u ON due.user_id = u.id;

--! views/v_forecast
-- What the company may expect. Renewals and first charges after a trial: their number and money in the next 30 days,
-- by currency. Cancellations that are booked: their number, and the MRR that goes with them. Requests: how many in the
-- next 30 days, and between which bounds with 80 % certainty, by forecast_requests(); NULL before the first.
CREATE VIEW v_forecast AS
SELECT
    r.kind AS figure,
    count(*) AS number,
    NULL::bigint AS low,
    NULL::bigint AS high,
    least(sum(r.amount_cents), 9223372036854775807)::bigint AS amount_cents,
    r.currency,
    concat_ws(' ', r.kind, r.currency) AS id
FROM v_renewals AS r
GROUP BY r.kind, r.currency
UNION ALL
SELECT
    'requests' AS figure,
    f.expected_requests AS number,
    f.low_requests AS low,
    f.high_requests AS high,
    NULL AS amount_cents,
    NULL AS currency,
    'requests' AS id
FROM forecast_requests() AS f;

--! views/v_retention
-- What is left of those who first paid in a month, at the end of that month and of each later one (UTC); the last
-- month is as of now. A cohort is the month of a customer's first payment, age_months the months since. Customers
-- count while they have MRR: whoever paid once and has none is in cohort_customers, the size of the cohort by the
-- currency of the first payment, and never in customers. The MRR of who had not paid by the end of a month is in a row
-- without cohort and age, so that the rows of a month and currency add up to the MRR of its last day.
--
-- Read in one pass over payments and one over the ledger, whose amounts are added up by cohort and month before months
-- are strung together; the number of customers times months never arises.
CREATE VIEW v_retention AS
WITH paid AS MATERIALIZED (
    SELECT
        f.user_id,
        f.cohort,
        f.currency
    FROM first_payments AS f
),

booked AS MATERIALIZED (
    SELECT
        paid.cohort,
        m.month,
        m.currency,
        sum(m.amount_cents) AS amount_cents,
        sum(m.customers) AS customers
    FROM monthly_mrr_movements AS m
    LEFT JOIN paid ON m.user_id = paid.user_id
    GROUP BY paid.cohort, m.month, m.currency
),

moved AS MATERIALIZED (
    SELECT
        legs.cohort,
        legs.month,
        legs.currency,
        sum(legs.amount_cents) AS amount_cents,
        sum(legs.customers) AS customers
    FROM (
        SELECT
            b.cohort,
            greatest(b.month, b.cohort) AS month,
            b.currency,
            b.amount_cents,
            b.customers
        FROM booked AS b
        UNION ALL
        -- Until the month of the first payment it is nobody's cohort.
        SELECT
            NULL AS cohort,
            side.month,
            b.currency,
            side.sign * b.amount_cents AS amount_cents,
            side.sign * b.customers AS customers
        FROM booked AS b
        CROSS JOIN LATERAL (VALUES (b.month, 1), (b.cohort, -1)) AS side (month, sign)
        WHERE b.month < b.cohort
    ) AS legs
    GROUP BY legs.cohort, legs.month, legs.currency
),

sizes AS MATERIALIZED (
    SELECT
        paid.cohort,
        paid.currency,
        count(*) AS customers
    FROM paid
    GROUP BY paid.cohort, paid.currency
),

books AS (
    SELECT
        begun.cohort,
        begun.currency,
        min(begun.month) AS month
    FROM (
        SELECT
            moved.cohort,
            moved.currency,
            coalesce(moved.cohort, moved.month) AS month
        FROM moved
        UNION ALL
        SELECT
            sizes.cohort,
            sizes.currency,
            sizes.cohort AS month
        FROM sizes
    ) AS begun
    GROUP BY begun.cohort, begun.currency
),

months AS (
    SELECT
        books.cohort,
        books.currency,
        opens::date AS month
    FROM books
    CROSS JOIN LATERAL generate_series(
        books.month::timestamp, date_trunc('month', now() AT TIME ZONE 'UTC'), interval '1 month'
    ) AS opens
),

closing AS (
    SELECT
        months.cohort,
        months.currency,
        months.month,
        coalesce(sum(moved.customers) OVER book, 0)::bigint AS customers,
        coalesce(sum(moved.amount_cents) OVER book, 0)::bigint AS mrr_cents
    FROM months
    LEFT JOIN moved
        ON
            months.cohort IS NOT DISTINCT FROM moved.cohort
            AND months.currency = moved.currency AND months.month = moved.month
    WINDOW book AS (PARTITION BY months.cohort, months.currency ORDER BY months.month)
)

SELECT
    closing.cohort,
    (
        12 * (extract(YEAR FROM closing.month) - extract(YEAR FROM closing.cohort))
        + extract(MONTH FROM closing.month) - extract(MONTH FROM closing.cohort)
    )::int AS age_months,
    closing.customers,
    closing.mrr_cents,
    closing.currency,
    closing.month,
    CASE WHEN closing.cohort IS NOT NULL THEN coalesce(sizes.customers, 0) END AS cohort_customers,
    concat_ws(' ', to_char(closing.cohort, 'YYYY-MM'), to_char(closing.month, 'YYYY-MM'), closing.currency) AS id
FROM closing
LEFT JOIN sizes ON closing.cohort = sizes.cohort AND closing.currency = sizes.currency
WHERE closing.cohort IS NOT NULL OR closing.customers <> 0 OR closing.mrr_cents <> 0;

--! views/v_retention_customers
-- The customers behind v_retention: each customer's MRR at the end of each month (UTC) since they first had any, 0 once
-- they left. Made to be read by month, as for a year of many customers it is a long list: a month takes one pass over
-- the ledger.
CREATE VIEW v_retention_customers AS
WITH months AS (
    SELECT opens::date AS month
    FROM generate_series(
        date_trunc('month', (SELECT min(m.occurred_at) FROM mrr_movements AS m) AT TIME ZONE 'UTC'),
        date_trunc('month', now() AT TIME ZONE 'UTC'),
        interval '1 month'
    ) AS opens
),

closing AS (
    SELECT
        months.month,
        m.user_id,
        m.currency,
        sum(m.amount_cents)::bigint AS mrr_cents
    FROM months
    INNER JOIN monthly_mrr_movements AS m ON months.month >= m.month
    GROUP BY months.month, m.user_id, m.currency
)

SELECT
    closing.user_id,
    u.email,
    f.cohort,
    (
        12 * (extract(YEAR FROM closing.month) - extract(YEAR FROM f.cohort))
        + extract(MONTH FROM closing.month) - extract(MONTH FROM f.cohort)
    )::int AS age_months,
    closing.mrr_cents,
    closing.currency,
    closing.month,
    closing.mrr_cents > 0 AS is_paying,
    concat_ws(' ', closing.user_id, to_char(closing.month, 'YYYY-MM'), closing.currency) AS id
FROM closing
LEFT JOIN users AS u ON closing.user_id = u.id
LEFT JOIN first_payments AS f ON closing.user_id = f.user_id AND closing.month >= f.cohort;
