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
