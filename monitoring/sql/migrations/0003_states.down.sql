-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('v_users_near_limit', 'alerts_of_limits', 'health_of_limits') AND a.grantee <> c.relowner;

DROP VIEW health_of_limits;
DROP VIEW alerts_of_limits;
DROP VIEW v_users_near_limit;

-- Customers who used 80 % or more of this calendar month's limit (UTC), by exact usage: what is folded plus what is
-- queued. A limit of zero is used up by the first request. Unlimited plans are never near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued requests is looked at as well.
CREATE VIEW v_users_near_limit AS
WITH least AS MATERIALIZED (
    SELECT greatest(ceil(0.8 * min(s.monthly_request_limit)), 1)::bigint AS requests
    FROM live_subscriptions AS s
    WHERE NOT s.is_duplicate AND s.monthly_request_limit IS NOT NULL
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
INNER JOIN live_subscriptions AS s ON usage.user_id = s.user_id AND NOT s.is_duplicate
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = s.user_id AND c.status <> 'deleted'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE usage.requests >= (SELECT least.requests FROM least) AND usage.requests >= 0.8 * s.monthly_request_limit;

-- The customers who have used more of their month than the threshold says.
CREATE VIEW alerts_of_limits AS
SELECT
    'users_near_limit' AS check_name,
    n.user_id::text AS cause,
    CASE WHEN n.percent_used > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    coalesce(n.email, n.user_id::text) AS subject,
    format(
        '%s of %s requests of this month are used (%s %%), on the %s plan.',
        to_char(n.usage_count, 'FM999,999,999,999,999'),
        to_char(n.monthly_request_limit, 'FM999,999,999,999,999'),
        n.percent_used,
        n.tier
    ) AS message,
    n.percent_used AS value,
    now() AS detected_at,
    'user' AS object_type,
    n.user_id::text AS object_id,
    ARRAY[n.user_id::text] AS objects
FROM v_users_near_limit AS n
INNER JOIN health_checks AS t ON t.check_name = 'users_near_limit'
-- Not the rounded percentage: 80.004 % is over 80.
WHERE 100.0 * n.usage_count > least(t.warning_at, t.critical_at) * n.monthly_request_limit;

-- The check on what customers have used of their month.
CREATE VIEW health_of_limits AS
SELECT
    'users_near_limit' AS check_name,
    coalesce(round(max(100.0 * n.usage_count / greatest(n.monthly_request_limit, 1)), 6), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'Nobody has used 80 % of the month''s limit.'
        ELSE format('At 80 %% of the month''s limit or more: %s, the highest at %s %%.', count(*), max(n.percent_used))
    END AS message
FROM v_users_near_limit AS n;

--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
