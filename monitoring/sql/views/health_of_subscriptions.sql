-- Checks on subscriptions.
CREATE VIEW health_of_subscriptions AS
SELECT
    'stale_subscriptions' AS check_name,
    -- Finer than the column shown, so that a moment over the threshold is over it.
    coalesce(round(max(extract(EPOCH FROM now() - s.current_period_end)) / 86400, 4), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'No subscription is past its end.'
        ELSE format('Past their end: %s, the longest by %s days.', count(*), max(s.days_overdue))
    END AS message
FROM v_stale_subscriptions AS s
UNION ALL
SELECT
    'duplicate_subscriptions' AS check_name,
    count(DISTINCT s.user_id)::numeric AS value,
    format('Customers who pay for more than one subscription: %s.', count(DISTINCT s.user_id)) AS message
FROM live_subscriptions AS s
WHERE s.is_duplicate
UNION ALL
SELECT
    'unclaimed_prices' AS check_name,
    coalesce(max(p.subscribers), 0)::numeric AS value,
    format('Prices that customers have and no plan claims: %s.', count(*)) AS message
FROM unclaimed_prices AS p;
