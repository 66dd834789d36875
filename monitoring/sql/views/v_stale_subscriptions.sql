-- Active or trialing past the end of its period: a webhook that never came or was never processed.
CREATE VIEW v_stale_subscriptions AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    u.email,
    s.tier,
    s.status,
    s.current_period_end,
    round(extract(EPOCH FROM now() - s.current_period_end) / 86400, 2) AS days_overdue,
    s.stripe_subscription_id
FROM subscriptions AS s
INNER JOIN users AS u ON s.user_id = u.id
WHERE s.status IN ('trialing', 'active') AND s.current_period_end < now();
