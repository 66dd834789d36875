-- What pays, in a fifth of the table: v_revenue_metrics and v_paid_users_without_keys read nothing else of it.
CREATE INDEX subscriptions_paying ON subscriptions (user_id) INCLUDE (tier, price_cents, currency, created_at)
WHERE status IN ('active', 'past_due') AND tier <> 'free' AND NOT is_duplicate;

-- What the folded tables do not have of each key yet: requests of this month (UTC) that are not in the traffic tables,
-- and those of any month that wait in the counting queue.
CREATE VIEW fresh_key_usage AS
SELECT
    f.api_key_id,
    sum(f.requests)::bigint AS requests_this_month,
    sum(f.queued)::bigint AS queued_requests,
    max(f.last_request_at) AS last_request_at
FROM (
    SELECT
        u.api_key_id,
        1 AS requests,
        0 AS queued,
        NULL::timestamptz AS last_request_at
    FROM api_usage AS u
    WHERE
        u.id > (SELECT p.folded_to FROM traffic_progress AS p)
        -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
        AND u.id <= 9223372036854775807
        AND u.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        AND u.created_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
    UNION ALL
    SELECT
        d.api_key_id,
        0 AS requests,
        d.total_requests AS queued,
        d.last_request_at
    FROM api_usage_deltas AS d
) AS f
WHERE f.api_key_id IS NOT NULL
GROUP BY f.api_key_id;

-- What each key was used for. Exact: folded requests, plus from api_usage what is not folded yet; usage_count and
-- last_used_at include what waits in the counting queue.
--
-- What a key had in 24 hours is looked up by key, after the LIMIT of a page, which takes that this view has no WITH:
-- all of a hundred thousand keys at once take a second or two, fifty of them, or one customer's, a fraction.
CREATE OR REPLACE VIEW v_api_key_usage_summary AS
SELECT
    k.id AS api_key_id,
    k.user_id,
    k.key_prefix,
    k.environment,
    (
        SELECT coalesce(sum(h.requests), 0)::bigint
        FROM traffic_hours AS h
        WHERE h.api_key_id = k.id AND h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC')
    ) + (
        SELECT count(*)
        FROM recent_requests AS r
        WHERE r.api_key_id = k.id
    ) AS requests_last_24h,
    coalesce(folded.requests, 0) + coalesce(fresh.requests_this_month, 0) AS requests_this_month,
    k.usage_count + coalesce(fresh.queued_requests, 0) AS usage_count,
    greatest(k.last_used_at, fresh.last_request_at) AS last_used_at,
    k.revoked_at,
    k.expires_at,
    k.name
FROM api_keys AS k
LEFT JOIN traffic_key_months AS folded
    ON k.id = folded.api_key_id AND folded.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
LEFT JOIN fresh_key_usage AS fresh ON k.id = fresh.api_key_id;

-- A Stripe customer here without a live subscription row: entitled to nothing although every customer has at least the
-- free tier. Deleted users are meant to have none.
--
-- The planner expects far more of them than there are. Without OFFSET it would look for the first ones in the order
-- that somebody asks for, and try every customer's subscription one by one.
CREATE OR REPLACE VIEW v_orphaned_stripe_customers AS
SELECT
    orphan.user_id,
    orphan.email,
    orphan.stripe_customer_id,
    orphan.created_at
FROM (
    SELECT
        u.id AS user_id,
        u.email,
        u.stripe_customer_id,
        u.created_at
    FROM users AS u
    WHERE
        u.stripe_customer_id IS NOT NULL
        AND u.status <> 'deleted'
        AND NOT EXISTS (
            SELECT
            FROM subscriptions AS s
            WHERE
                s.user_id = u.id
                AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
                AND NOT s.is_duplicate
        )
    OFFSET 0 -- noqa: AM09
) AS orphan;

-- Customers who used 80 % or more of this calendar month's limit (UTC), by exact usage: what is folded plus what is
-- queued. A limit of zero is used up by the first request. Unlimited plans are never near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued requests is looked at as well.
CREATE OR REPLACE VIEW v_users_near_limit AS
WITH least AS MATERIALIZED (
    SELECT greatest(ceil(0.8 * min(s.monthly_request_limit)), 1)::bigint AS requests
    FROM subscriptions AS s
    WHERE
        s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        AND NOT s.is_duplicate
        AND s.monthly_request_limit IS NOT NULL
),

queued AS MATERIALIZED (
    SELECT
        d.user_id,
        sum(d.total_requests)::bigint AS requests
    FROM api_usage_deltas AS d
    WHERE d.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
    GROUP BY d.user_id
),

usage AS (
    SELECT
        t.user_id,
        t.total_requests AS requests
    FROM monthly_usage_totals AS t
    WHERE
        t.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        AND t.total_requests >= (SELECT least.requests FROM least)
        -- Says nothing new; without an upper bound the planner expects a third of the table and reads all of it.
        AND t.total_requests <= 9223372036854775807
        AND NOT EXISTS (
            SELECT
            FROM queued AS q
            WHERE q.user_id = t.user_id
        )
    UNION ALL
    -- A subquery and no join, for which the planner would read the totals of everybody.
    SELECT
        q.user_id,
        q.requests + coalesce(
            (
                SELECT t.total_requests
                FROM monthly_usage_totals AS t
                WHERE t.user_id = q.user_id AND t.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            ), 0
        ) AS requests
    FROM queued AS q
)

SELECT
    s.user_id,
    u.email,
    s.tier,
    usage.requests AS usage_count,
    s.monthly_request_limit,
    CASE
        WHEN s.monthly_request_limit = 0 THEN 100.00
        ELSE round(100.0 * usage.requests / s.monthly_request_limit, 2)
    END AS percent_used
FROM usage
INNER JOIN subscriptions AS s
    ON
        usage.user_id = s.user_id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        AND NOT s.is_duplicate
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = s.user_id AND c.status <> 'deleted'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE usage.requests >= (SELECT least.requests FROM least) AND usage.requests >= 0.8 * s.monthly_request_limit;

-- Pays, but has no key that works: revoked and expired keys do not count. subscribed_at is when the subscription began.
CREATE OR REPLACE VIEW v_paid_users_without_keys AS
SELECT
    s.user_id,
    u.email,
    s.tier,
    s.created_at AS subscribed_at
FROM subscriptions AS s
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = s.user_id AND c.status = 'active'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE
    s.status IN ('active', 'past_due')
    AND s.tier <> 'free'
    AND NOT s.is_duplicate
    AND NOT EXISTS (
        SELECT
        FROM api_keys AS k
        WHERE k.user_id = s.user_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    );

-- The 100 customers with the most requests of the last 24 hours, and how many of them came in the last hour: growth or
-- abuse. Exact: folded hours, plus from api_usage the first, partial hour and what is not folded yet.
--
-- Added up as float8, which holds whole numbers exactly to 2^53 and takes half the time of the numeric that bigints are
-- added up in; and the hour that the day begins in is computed once and not for every row.
CREATE OR REPLACE VIEW v_high_volume_users AS
WITH day AS (
    SELECT
        counted.user_id,
        sum(counted.requests)::bigint AS requests,
        sum(counted.failed)::bigint AS failed
    FROM (
        SELECT
            h.user_id,
            h.requests::float8 AS requests,
            h.failed_requests::float8 AS failed
        FROM traffic_hours AS h
        WHERE h.hour >= (SELECT date_trunc('hour', now() - interval '23 hours', 'UTC'))
        UNION ALL
        SELECT
            r.user_id,
            1::float8 AS requests,
            (r.status_code >= 400)::int::float8 AS failed
        FROM recent_requests AS r
    ) AS counted
    GROUP BY counted.user_id
    ORDER BY requests DESC
    LIMIT 100
)

SELECT
    day.user_id,
    u.email,
    s.tier,
    (
        SELECT count(*)
        FROM api_usage AS r
        WHERE r.user_id = day.user_id AND r.created_at >= now() - interval '1 hour'
    ) AS requests_last_hour,
    day.requests AS requests_last_24h,
    day.failed AS failed_last_24h,
    u.status AS user_status
FROM day
LEFT JOIN users AS u ON day.user_id = u.id
LEFT JOIN subscriptions AS s
    ON
        day.user_id = s.user_id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
        AND NOT s.is_duplicate
ORDER BY requests_last_hour DESC, requests_last_24h DESC;

-- Response times of each endpoint over the last 24 hours, slowest first. A percentile is the time that this share of
-- the requests took at most. Folded hours contribute the means of histogram buckets that are at most 10 % wide, the
-- rest its exact times: percentiles are a few percent off at worst; counts, mean and maximum are exact: float8, in
-- which they are added up because numeric takes longer, holds whole numbers exactly to 2^53.
CREATE OR REPLACE VIEW v_slow_endpoints AS
WITH times AS (
    SELECT
        t.endpoint,
        t.method,
        t.ms,
        sum(t.requests) AS requests,
        sum(t.total_ms) AS total_ms,
        max(t.max_ms) AS max_ms
    FROM (
        SELECT
            h.endpoint,
            h.method,
            round((sum(h.total_response_time_ms::float8) / sum(h.requests::float8))::numeric)::int AS ms,
            sum(h.requests::float8) AS requests,
            sum(h.total_response_time_ms::float8) AS total_ms,
            max(h.max_response_time_ms) AS max_ms
        FROM traffic_latency_hours AS h
        WHERE h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC')
        GROUP BY h.endpoint, h.method, h.bucket
        UNION ALL
        SELECT
            r.endpoint,
            r.method,
            r.response_time_ms AS ms,
            1::float8 AS requests,
            r.response_time_ms::float8 AS total_ms,
            r.response_time_ms AS max_ms
        FROM recent_requests AS r
    ) AS t
    GROUP BY t.endpoint, t.method, t.ms
),

ranked AS (
    SELECT
        times.*,
        sum(times.requests) OVER (PARTITION BY times.endpoint, times.method ORDER BY times.ms) AS not_slower,
        sum(times.requests) OVER (PARTITION BY times.endpoint, times.method) AS all_requests
    FROM times
)

SELECT
    ranked.endpoint,
    ranked.method,
    sum(ranked.requests)::bigint AS requests,
    round(sum(ranked.total_ms)::numeric / sum(ranked.requests)::numeric, 1) AS avg_ms,
    min(ranked.ms) FILTER (WHERE ranked.not_slower >= 0.95 * ranked.all_requests) AS p95_ms,
    min(ranked.ms) FILTER (WHERE ranked.not_slower >= 0.99 * ranked.all_requests) AS p99_ms,
    max(ranked.max_ms) AS max_ms,
    concat_ws(' ', ranked.method, ranked.endpoint) AS id
FROM ranked
GROUP BY ranked.endpoint, ranked.method
ORDER BY p95_ms DESC, requests DESC;
