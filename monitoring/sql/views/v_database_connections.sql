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
