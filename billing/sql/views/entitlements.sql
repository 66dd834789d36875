-- What each customer's live subscription entitles to: the limits of its plan, or of the free one in a status that does
-- not entitle, with the extra quota that is in force for all of the customer's keys. `tier` is the plan whose limits
-- hold. A NULL monthly_request_limit is unlimited.
CREATE VIEW entitlements AS
SELECT
    p.subscription_id,
    p.user_id,
    p.tier,
    p.is_entitled,
    p.request_limit + least(
        coalesce(
            (
                SELECT x.extra_requests
                FROM extra_quota AS x
                WHERE x.user_id = p.user_id
            ), 0
        ), 9223372036854775807 - p.request_limit
    ) AS monthly_request_limit,
    p.per_minute + least(
        coalesce(
            (
                SELECT x.extra_per_minute
                FROM extra_quota AS x
                WHERE x.user_id = p.user_id
            ), 0
        ), 2147483647 - p.per_minute
    ) AS rate_limit_per_minute
FROM plan_limits AS p;
