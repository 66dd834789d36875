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
