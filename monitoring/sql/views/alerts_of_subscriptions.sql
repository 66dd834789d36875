-- The subscriptions past their end, the customers with two at Stripe, and the prices that no plan claims, as far as
-- they alert.
CREATE VIEW alerts_of_subscriptions AS
SELECT
    'stale_subscriptions' AS check_name,
    s.subscription_id::text AS cause,
    CASE
        WHEN now() - s.current_period_end > t.critical_at * interval '1 day' THEN 'critical' ELSE 'warning'
    END AS severity,
    coalesce(s.email, s.user_id::text) AS subject,
    format(
        'The %s plan is still %s, %s days after its period ended.', s.tier, s.status, round(s.days_overdue, 1)
    ) AS message,
    s.days_overdue AS value,
    s.current_period_end AS detected_at,
    'subscription' AS object_type,
    s.subscription_id::text AS object_id,
    ARRAY[s.subscription_id::text] AS objects
FROM v_stale_subscriptions AS s
INNER JOIN health_checks AS t ON t.check_name = 'stale_subscriptions'
WHERE now() - s.current_period_end > least(t.warning_at, t.critical_at) * interval '1 day'
UNION ALL
SELECT
    'duplicate_subscriptions' AS check_name,
    d.user_id::text AS cause,
    CASE WHEN d.duplicates > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    coalesce(d.email, d.user_id::text) AS subject,
    format('Pays for %s subscriptions at once.', d.duplicates + 1) AS message,
    d.duplicates::numeric AS value,
    d.since AS detected_at,
    'user' AS object_type,
    d.user_id::text AS object_id,
    ARRAY[d.user_id::text] AS objects
FROM (
    SELECT
        s.user_id,
        u.email,
        count(*) AS duplicates,
        min(s.created_at) AS since
    FROM live_subscriptions AS s
    INNER JOIN users AS u ON s.user_id = u.id
    WHERE s.is_duplicate
    GROUP BY s.user_id, u.email
) AS d
INNER JOIN health_checks AS t ON t.check_name = 'duplicate_subscriptions'
WHERE d.duplicates > least(t.warning_at, t.critical_at)
UNION ALL
SELECT
    'unclaimed_prices' AS check_name,
    p.stripe_price_id AS cause,
    CASE WHEN p.subscribers > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    p.stripe_price_id AS subject,
    format('No plan claims the price any more; customers who have it: %s.', p.subscribers) AS message,
    p.subscribers::numeric AS value,
    now() AS detected_at,
    'price' AS object_type,
    p.stripe_price_id AS object_id,
    ARRAY[p.stripe_price_id] AS objects
FROM unclaimed_prices AS p
INNER JOIN health_checks AS t ON t.check_name = 'unclaimed_prices'
WHERE p.subscribers > least(t.warning_at, t.critical_at);
