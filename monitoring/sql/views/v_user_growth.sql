-- Customers who joined in each calendar month (UTC) since the first, months without any included. Deleted customers are
-- not counted. Growth is against the total of the month before; the first month has none.
CREATE VIEW v_user_growth AS
WITH joined AS (
    SELECT
        date_trunc('month', u.created_at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS new_users
    FROM users AS u
    WHERE u.status <> 'deleted'
    GROUP BY 1
),

months AS (
    SELECT opens::date AS month
    FROM generate_series(
        (SELECT min(joined.month) FROM joined)::timestamp,
        greatest((SELECT max(joined.month) FROM joined)::timestamp, date_trunc('month', now() AT TIME ZONE 'UTC')),
        interval '1 month'
    ) AS opens
),

totals AS (
    SELECT
        months.month,
        coalesce(joined.new_users, 0) AS new_users,
        sum(coalesce(joined.new_users, 0)) OVER (ORDER BY months.month)::bigint AS total_users
    FROM months
    LEFT JOIN joined ON months.month = joined.month
)

SELECT
    totals.month,
    totals.new_users,
    totals.total_users,
    round(100.0 * totals.new_users / nullif(totals.total_users - totals.new_users, 0), 2) AS growth_percent
FROM totals;
