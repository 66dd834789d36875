-- v_revenue_metrics: a payment that Stripe dated counts then, another one when it was written.
CREATE INDEX payment_history_effective_at ON payment_history ((coalesce(paid_at, created_at)));

-- v_users_near_limit: the smallest limit that anybody has.
CREATE INDEX subscriptions_live_limits ON subscriptions (monthly_request_limit)
WHERE status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused') AND NOT is_duplicate;

-- What pays, in a fifth of the table: v_revenue_metrics and v_paid_users_without_keys read nothing else of it.
CREATE INDEX subscriptions_paying ON subscriptions (user_id) INCLUDE (tier, price_cents, currency, created_at)
WHERE status IN ('active', 'past_due') AND tier <> 'free' AND NOT is_duplicate;

-- A Stripe customer here without a live subscription row: entitled to nothing although every customer has at least the
-- free tier. Deleted users are meant to have none.
--
-- The planner expects far more of them than there are. Without OFFSET it would look for the first ones in the order
-- that somebody asks for, and try every customer's subscription one by one.
CREATE VIEW v_orphaned_stripe_customers AS
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

-- Events whose processing failed and waits for its next attempt, or that were given up as dead.
CREATE VIEW v_failed_webhook_events AS
SELECT
    e.stripe_event_id,
    e.event_type,
    e.status,
    e.attempts,
    e.last_error,
    e.next_retry_at,
    e.received_at
FROM stripe_webhook_events AS e
WHERE e.status IN ('failed', 'dead');

-- Pays, but has no key that works: revoked and expired keys do not count. subscribed_at is when the subscription began.
CREATE VIEW v_paid_users_without_keys AS
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

-- Customers who used 80 % or more of this calendar month's limit (UTC), by exact usage: what is folded plus what is
-- queued. A limit of zero is used up by the first request. Unlimited plans are never near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued requests is looked at as well.
CREATE VIEW v_users_near_limit AS
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

-- Subscriptions by tier, status and currency, with what they bring a month. Only active and past due ones of a paid
-- tier bring anything; duplicates are left out. Amounts of different currencies are never added.
CREATE VIEW v_subscription_breakdown AS
SELECT
    s.tier,
    s.status,
    count(*) AS subscriptions,
    coalesce(
        sum(s.price_cents) FILTER (WHERE s.tier <> 'free' AND s.status IN ('active', 'past_due')), 0
    )::bigint AS mrr_cents,
    s.currency,
    concat_ws(' ', s.tier, s.status, s.currency) AS id
FROM subscriptions AS s
WHERE NOT s.is_duplicate
GROUP BY s.tier, s.status, s.currency;

-- One row, also in an empty database. MRR is what subscriptions in active and past_due pay a month: no trials, no free
-- tier, no duplicates, no taxes. Months are calendar months in UTC. Revenue is what was collected, before refunds and
-- disputes; refunds stand beside it, in the month of the payment they reduce. All amounts are in one currency, the one
-- most customers pay in; how many pay in another is the last column.
CREATE VIEW v_revenue_metrics AS
WITH paying AS MATERIALIZED (
    SELECT
        s.currency,
        count(DISTINCT s.user_id) AS customers,
        sum(s.price_cents)::bigint AS mrr_cents
    FROM subscriptions AS s
    WHERE s.status IN ('active', 'past_due') AND s.tier <> 'free' AND s.price_cents > 0 AND NOT s.is_duplicate
    GROUP BY s.currency
),

payments AS MATERIALIZED (
    SELECT
        p.currency,
        count(*) AS payments,
        sum(p.amount_cents) FILTER (WHERE p.is_this_month AND p.is_collected) AS this_month_cents,
        sum(p.amount_cents) FILTER (WHERE NOT p.is_this_month AND p.is_collected) AS last_month_cents,
        sum(p.refunded_cents) FILTER (WHERE p.is_this_month) AS refunded_cents,
        count(*) FILTER (WHERE p.is_this_month AND p.status = 'failed') AS failed
    FROM (
        SELECT
            h.currency,
            h.amount_cents,
            h.refunded_cents,
            h.status,
            h.status NOT IN ('pending', 'failed') AS is_collected,
            coalesce(h.paid_at, h.created_at)
            >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS is_this_month
        FROM payment_history AS h
        WHERE
            coalesce(h.paid_at, h.created_at)
            >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC'
            AND coalesce(h.paid_at, h.created_at)
            < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
    ) AS p
    GROUP BY p.currency
),

reporting AS (
    SELECT used.currency
    FROM (
        SELECT
            1 AS preference,
            paying.customers AS uses,
            paying.currency
        FROM paying
        UNION ALL
        SELECT
            2 AS preference,
            payments.payments AS uses,
            payments.currency
        FROM payments
        UNION ALL
        SELECT
            3 AS preference,
            0 AS uses,
            'usd' AS currency
    ) AS used
    ORDER BY used.preference ASC, used.uses DESC, used.currency = 'usd' DESC, used.currency ASC
    LIMIT 1
)

SELECT
    coalesce(paying.mrr_cents, 0) AS mrr_cents,
    coalesce(paying.mrr_cents, 0) * 12 AS arr_cents,
    coalesce(round(paying.mrr_cents::numeric / paying.customers), 0)::bigint AS arpu_cents,
    coalesce(paying.customers, 0) AS paying_customers,
    coalesce(payments.this_month_cents, 0)::bigint AS revenue_this_month_cents,
    coalesce(payments.last_month_cents, 0)::bigint AS revenue_last_month_cents,
    coalesce(payments.refunded_cents, 0)::bigint AS refunded_this_month_cents,
    coalesce(payments.failed, 0) AS failed_payments_this_month,
    reporting.currency,
    (
        SELECT coalesce(sum(other.customers), 0)::bigint
        FROM paying AS other
        WHERE other.currency <> reporting.currency
    ) AS customers_in_other_currencies
FROM reporting
LEFT JOIN paying ON reporting.currency = paying.currency
LEFT JOIN payments ON reporting.currency = payments.currency;

-- Customers who joined in each calendar month (UTC) since the first, months without any included. Deleted customers are
-- not counted. Growth is against the total of the month before; the first month has none.
CREATE VIEW v_user_growth AS
WITH joined AS (
    SELECT
        date_trunc('month', u.created_at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS new_users
    FROM users AS u
    WHERE u.status <> 'deleted'
    GROUP BY 1
),

months AS (
    SELECT opens::date AS month
    FROM generate_series(
        (SELECT min(joined.month) FROM joined)::timestamp,
        greatest((SELECT max(joined.month) FROM joined)::timestamp, date_trunc('month', now() AT TIME ZONE 'UTC')),
        interval '1 month'
    ) AS opens
),

totals AS (
    SELECT
        months.month,
        coalesce(joined.new_users, 0) AS new_users,
        sum(coalesce(joined.new_users, 0)) OVER (ORDER BY months.month)::bigint AS total_users
    FROM months
    LEFT JOIN joined ON months.month = joined.month
)

SELECT
    totals.month,
    totals.new_users,
    totals.total_users,
    round(100.0 * totals.new_users / nullif(totals.total_users - totals.new_users, 0), 2) AS growth_percent
FROM totals;

-- Every table of the database with its indexes; partitions are summed under their parent, whose own size is 0. Rows are
-- estimates of the statistics; NULL when the table was never counted.
CREATE VIEW v_database_size AS
WITH RECURSIVE family AS (
    SELECT
        c.oid AS root,
        c.oid AS relid
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    WHERE
        c.relkind IN ('r', 'p', 'm')
        AND NOT c.relispartition
        AND n.nspname <> 'information_schema'
        AND n.nspname NOT LIKE 'pg\_%'
    UNION ALL
    SELECT
        family.root,
        i.inhrelid AS relid
    FROM family
    INNER JOIN pg_inherits AS i ON family.relid = i.inhparent
    INNER JOIN pg_class AS c ON i.inhrelid = c.oid AND c.relispartition
)

SELECT
    min(CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || r.relname) AS table_name,
    -- A table that is dropped meanwhile has no size any more.
    coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS total_bytes,
    coalesce(sum(pg_table_size(c.oid)), 0)::bigint AS table_bytes,
    coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint AS index_bytes,
    (
        sum(CASE WHEN c.reltuples >= 0 THEN c.reltuples WHEN st.n_live_tup > 0 THEN st.n_live_tup END)
        FILTER (WHERE c.relkind <> 'p')
    )::bigint AS row_estimate,
    coalesce(sum(st.n_dead_tup), 0)::bigint AS dead_rows,
    count(*) FILTER (WHERE c.relispartition AND c.relkind <> 'p') AS partitions,
    greatest(max(st.last_vacuum), max(st.last_autovacuum)) AS last_vacuum_at
FROM family
INNER JOIN pg_class AS c ON family.relid = c.oid
INNER JOIN pg_class AS r ON family.root = r.oid
INNER JOIN pg_namespace AS n ON r.relnamespace = n.oid
LEFT JOIN pg_stat_all_tables AS st ON family.relid = st.relid
GROUP BY family.root;

-- Connections of the whole server against max_connections. What the others do is NULL, unknown, for a role that may not
-- read their activity (pg_read_all_stats).
CREATE VIEW v_database_connections AS
WITH privilege AS (
    SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
),

activity AS (
    SELECT
        count(*) FILTER (WHERE a.state IN ('active', 'fastpath function call')) AS active,
        count(*) FILTER (WHERE a.state = 'idle') AS idle,
        count(*) FILTER (WHERE a.state LIKE 'idle in transaction%') AS idle_in_transaction
    FROM pg_stat_activity AS a
    WHERE a.backend_type = 'client backend'
)

SELECT
    used.total,
    CASE WHEN privilege.sees_all THEN activity.active END AS active,
    CASE WHEN privilege.sees_all THEN activity.idle END AS idle,
    CASE WHEN privilege.sees_all THEN activity.idle_in_transaction END AS idle_in_transaction,
    current_setting('max_connections')::int AS max_connections,
    round(100.0 * used.total / current_setting('max_connections')::int, 2) AS percent_used
FROM privilege
CROSS JOIN activity
CROSS JOIN (
    -- Visible to everybody, unlike the kind of a backend in pg_stat_activity.
    SELECT coalesce(sum(d.numbackends), 0)::int AS total
    FROM pg_stat_database AS d
    WHERE d.datid <> 0
) AS used;

-- What has been running, or idle inside a transaction, in this database for over a second, longest first. A role that
-- may not see what others do (pg_read_all_stats) gets their sessions with the state unknown, as it cannot tell.
CREATE VIEW v_long_running_queries AS
SELECT
    a.pid,
    a.username,
    a.state,
    round(extract(EPOCH FROM clock_timestamp() - a.began_at), 1) AS duration_seconds,
    a.wait_event,
    a.query,
    a.application_name,
    cardinality(pg_blocking_pids(a.pid)) AS blocked_by
FROM (
    SELECT
        s.pid,
        s.usename::text AS username,
        coalesce(s.state, 'unknown') AS state,
        CASE WHEN s.state LIKE 'idle in transaction%' THEN s.state_change ELSE s.query_start END AS began_at,
        nullif(concat_ws(': ', s.wait_event_type, s.wait_event), '') AS wait_event,
        left(s.query, 2000) AS query,
        s.application_name,
        s.state IS NULL AS is_hidden
    FROM pg_stat_activity AS s
    WHERE
        s.pid <> pg_backend_pid()
        AND s.datname = current_database()
        AND s.usename IS NOT NULL
        AND coalesce(s.state, 'unknown') <> 'idle'
        AND coalesce(s.backend_type, 'client backend') = 'client backend'
) AS a
WHERE a.is_hidden OR a.began_at < clock_timestamp() - interval '1 second'
ORDER BY duration_seconds DESC NULLS LAST;
