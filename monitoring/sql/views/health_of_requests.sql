-- Checks on requests to the API, their partitions and their counting.
CREATE VIEW health_of_requests AS
WITH partitions AS MATERIALIZED (
    SELECT
        parent.name AS parent,
        p.opens,
        p.closes
    -- Looked up when the view is made, not by the search path of whoever asks.
    FROM (VALUES ('api_usage', 'api_usage'::regclass), ('audit_log', 'audit_log'::regclass)) AS parent (name, relation)
    CROSS JOIN LATERAL monthly_partitions(parent.relation) AS p
),

months AS (
    SELECT
        ahead.n,
        (date_trunc('month', now() AT TIME ZONE 'UTC') + ahead.n * interval '1 month') AT TIME ZONE 'UTC' AS opens,
        (date_trunc('month', now() AT TIME ZONE 'UTC') + (ahead.n + 1) * interval '1 month')
        AT TIME ZONE 'UTC' AS closes
    FROM generate_series(0, 24) AS ahead (n)
),

headroom AS (
    SELECT
        parent.name AS parent,
        -- The first month without partition, counted from this one, ends it.
        coalesce(
            min(m.n) FILTER (
                WHERE NOT EXISTS (
                    SELECT
                    FROM partitions AS p
                    WHERE p.parent = parent.name AND p.opens <= m.opens AND p.closes >= m.closes
                )
            ), 25
        ) - 1 AS months
    FROM (VALUES ('api_usage'), ('audit_log')) AS parent (name)
    CROSS JOIN months AS m
    GROUP BY parent.name
)

SELECT
    'error_rate' AS check_name,
    coalesce(max(f.failures), 0)::numeric AS value,
    format(
        'Customers with failed requests in the last hour: %s; most of one: %s.', count(*), coalesce(max(f.failures), 0)
    ) AS message
FROM failing_users AS f
UNION ALL
SELECT
    'partitions_ahead' AS check_name,
    min(a.months)::numeric AS value,
    string_agg(format('%s: %s months ahead', a.parent, a.months), ', ' ORDER BY a.parent) || '.' AS message
FROM headroom AS a
UNION ALL
SELECT
    'default_partition_rows' AS check_name,
    (usage.strays + audit.strays)::numeric AS value,
    format(
        '%s rows of api_usage and %s of audit_log are in a month without partition.', usage.strays, audit.strays
    ) AS message
FROM (
    -- Bounded, as more makes no difference.
    SELECT count(*) AS strays
    FROM (
        SELECT
        FROM api_usage_default
        LIMIT 10000 -- noqa: AM09
    ) AS rows
) AS usage
CROSS JOIN (
    SELECT count(*) AS strays
    FROM (
        SELECT
        FROM audit_log_default
        LIMIT 10000 -- noqa: AM09
    ) AS rows
) AS audit
UNION ALL
SELECT
    'unfolded_usage' AS check_name,
    count(*)::numeric AS value,
    format('%s counted statements wait to be folded into the monthly totals.', count(*)) AS message
FROM (
    SELECT
    FROM api_usage_deltas
    LIMIT 1000000 -- noqa: AM09
) AS rows
UNION ALL
SELECT
    'unfolded_traffic' AS check_name,
    last.id - last.folded_to::numeric AS value,
    format(
        '%s requests since the last fold, %s.',
        last.id - last.folded_to, coalesce('at ' || date_trunc('second', last.folded_at), 'which has never run')
    ) AS message
FROM (
    SELECT
        p.folded_to,
        p.folded_at,
        CASE WHEN s.is_called THEN greatest(s.last_value, p.folded_to) ELSE p.folded_to END AS id
    FROM traffic_progress AS p
    CROSS JOIN api_usage_id_seq AS s
) AS last
UNION ALL
SELECT
    'request_id_conflicts' AS check_name,
    count(*)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No request id came back with another request within a day.'
        ELSE format(
            'Request ids that came back with other requests within a day, which are not counted: %s, of %s customers.',
            count(*), count(DISTINCT i.user_id)
        )
    END AS message
FROM api_usage_request_ids AS i
WHERE i.conflicted_at > now() - interval '24 hours';
