-- What each customer's live subscription entitles to: its plan in the statuses that entitle, in others the free plan,
-- and with it the extra quota that is in force for all of the customer's keys. `tier` is the plan whose limits hold. A
-- NULL limit is unlimited.
--
-- Subqueries, as whoever leaves their columns out, as take_rate_limit() does, does not pay for them.
CREATE VIEW entitlements AS
SELECT
    h.subscription_id,
    h.user_id,
    h.tier,
    h.is_entitled,
    h.request_limit + least(
        coalesce(
            (
                SELECT x.extra_requests
                FROM extra_quota AS x
                WHERE x.user_id = h.user_id
            ), 0
        ), 9223372036854775807 - h.request_limit
    ) AS monthly_request_limit,
    h.per_minute + least(
        coalesce(
            (
                SELECT x.extra_per_minute
                FROM extra_quota AS x
                WHERE x.user_id = h.user_id
            ), 0
        ), 2147483647 - h.per_minute
    ) AS rate_limit_per_minute,
    h.request_limit AS plan_request_limit,
    h.per_minute AS plan_rate_limit_per_minute
FROM (
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
    WHERE NOT s.is_duplicate
) AS h;
