-- What each customer's live subscription entitles to: its plan in the statuses that entitle, in others the free plan.
-- `tier` is the plan whose limits hold. A NULL monthly_request_limit is unlimited.
CREATE VIEW entitlements AS
SELECT
    s.id AS subscription_id,
    s.user_id,
    p.tier,
    e.status IS NOT NULL AS is_entitled,
    CASE WHEN e.status IS NULL THEN p.monthly_request_limit ELSE s.monthly_request_limit END AS monthly_request_limit,
    p.rate_limit_per_minute
FROM live_subscriptions AS s
LEFT JOIN entitled_statuses AS e ON s.status = e.status
INNER JOIN plans AS p ON p.tier = CASE WHEN e.status IS NULL THEN 'free' ELSE s.tier END
WHERE NOT s.is_duplicate;
