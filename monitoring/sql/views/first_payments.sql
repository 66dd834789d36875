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
