-- The limits of each customer's live subscription by its plan alone: of its own in the statuses that entitle, of the
-- free one in others. `tier` is the plan whose limits hold. A NULL request_limit is unlimited.
CREATE VIEW plan_limits AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    p.tier,
    e.status IS NOT NULL AS is_entitled,
    CASE WHEN e.status IS NULL THEN p.monthly_request_limit ELSE s.monthly_request_limit END AS request_limit,
    p.rate_limit_per_minute AS per_minute
FROM live_subscriptions AS s
LEFT JOIN entitled_statuses AS e ON s.status = e.status
INNER JOIN plans AS p ON p.tier = CASE WHEN e.status IS NULL THEN 'free' ELSE s.tier END
WHERE NOT s.is_duplicate;
