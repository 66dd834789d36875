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
