-- Customers who used 80 % or more of this calendar month's limit (UTC), by what counts against it as in quota_usage:
-- what is folded plus what is queued, and what was corrected. The limit is that of the plan whose limits hold, with the
-- extra quota that is in force for all keys. A limit of zero is used up by the first request. Unlimited plans are never
-- near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued or corrected requests is looked at as well.
CREATE VIEW v_users_near_limit AS
WITH least AS MATERIALIZED (
    SELECT
        greatest(
            ceil(
                0.8 * least(
                    min(s.monthly_request_limit),
                    -- Of those whose subscription entitles to nothing else.
                    (
                        SELECT p.monthly_request_limit
                        FROM plans AS p
                        WHERE p.tier = 'free'
                    )
                )
            ), 1
        )::bigint AS requests
    FROM live_subscriptions AS s
    WHERE NOT s.is_duplicate AND s.monthly_request_limit IS NOT NULL
),

apart AS MATERIALIZED (
    SELECT
        d.user_id,
        sum(d.requests)::bigint AS requests
    FROM (
        SELECT
            q.user_id,
            q.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
                WHEN 'served' THEN q.throttled_requests + q.server_errors
                ELSE 0
            END AS requests
        FROM api_usage_deltas AS q
        WHERE q.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        UNION ALL
        SELECT
            c.user_id,
            c.requests
        FROM usage_corrections AS c
        WHERE c.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
    ) AS d
    GROUP BY d.user_id
),

usage AS (
    SELECT
        t.user_id,
        t.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
            WHEN 'served' THEN t.throttled_requests + t.server_errors
            ELSE 0
        END AS requests
    FROM monthly_usage_totals AS t
    WHERE
        t.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        AND t.total_requests >= (SELECT least.requests FROM least)
        -- Says nothing new; without an upper bound the planner expects a third of the table and reads all of it.
        AND t.total_requests <= 9223372036854775807
        AND NOT EXISTS (
            SELECT
            FROM apart AS q
            WHERE q.user_id = t.user_id
        )
    UNION ALL
    -- A subquery and no join, for which the planner would read the totals of everybody.
    SELECT
        q.user_id,
        q.requests + coalesce(
            (
                SELECT
                    t.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
                        WHEN 'served' THEN t.throttled_requests + t.server_errors
                        ELSE 0
                    END
                FROM monthly_usage_totals AS t
                WHERE t.user_id = q.user_id AND t.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            ), 0
        ) AS requests
    FROM apart AS q
)

SELECT
    e.user_id,
    u.email,
    e.tier,
    usage.requests AS usage_count,
    e.monthly_request_limit,
    CASE
        WHEN e.monthly_request_limit = 0 THEN 100.00
        ELSE round(100.0 * usage.requests / e.monthly_request_limit, 2)
    END AS percent_used
FROM usage
INNER JOIN current_limits AS e ON usage.user_id = e.user_id
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = e.user_id AND c.status <> 'deleted'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE usage.requests >= (SELECT least.requests FROM least) AND usage.requests >= 0.8 * e.monthly_request_limit;
