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
