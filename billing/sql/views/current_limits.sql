-- What holds for each customer with a live subscription now: its entitlements, with the extra quota that is in force
-- for all of the customer's keys. A NULL monthly_request_limit is unlimited.
CREATE VIEW current_limits AS
SELECT
    e.subscription_id,
    e.user_id,
    e.tier,
    e.is_entitled,
    e.monthly_request_limit + least(
        coalesce(
            (
                SELECT x.extra_requests
                FROM extra_quota AS x
                WHERE x.user_id = e.user_id
            ), 0
        ), 9223372036854775807 - e.monthly_request_limit
    ) AS monthly_request_limit,
    e.rate_limit_per_minute + least(
        coalesce(
            (
                SELECT x.extra_per_minute
                FROM extra_quota AS x
                WHERE x.user_id = e.user_id
            ), 0
        ), 2147483647 - e.rate_limit_per_minute
    ) AS rate_limit_per_minute
FROM entitlements AS e;
