-- Checks on the database server; of sessions only on those in this database. A NULL value is unknown: this role may not
-- see it (pg_read_all_stats).
CREATE VIEW health_of_server AS
WITH privilege AS (
    SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
),

sessions AS MATERIALIZED (
    SELECT
        a.pid,
        a.usename,
        a.state,
        extract(EPOCH FROM clock_timestamp() - a.query_start) / 60 AS query_minutes,
        extract(EPOCH FROM clock_timestamp() - a.state_change) / 60 AS state_minutes
    FROM pg_stat_activity AS a
    WHERE
        a.pid <> pg_backend_pid()
        AND a.datname = current_database()
        AND a.backend_type = 'client backend'
)

SELECT
    'connections' AS check_name,
    c.percent_used::numeric AS value,
    format('%s of %s connections are used.', c.total, c.max_connections) AS message
FROM v_database_connections AS c
UNION ALL
SELECT
    'blocked_sessions' AS check_name,
    round(coalesce(max(l.minutes), 0), 2) AS value,
    coalesce(
        string_agg(
            format('process %s waits for %s', l.pid, array_to_string(pg_blocking_pids(l.pid), ' and ')), ', '
            ORDER BY l.minutes DESC
        ) || '.',
        'Nobody waits for a lock.'
    ) AS message
FROM (
    SELECT
        w.pid,
        coalesce(extract(EPOCH FROM clock_timestamp() - w.waitstart) / 60, 0) AS minutes
    FROM pg_locks AS w
    -- A lock on a row names no database.
    INNER JOIN pg_stat_activity AS a ON w.pid = a.pid AND a.datname = current_database()
    WHERE NOT w.granted
    ORDER BY w.waitstart ASC
    LIMIT 5
) AS l
UNION ALL
SELECT
    'idle_in_transaction' AS check_name,
    CASE WHEN p.sees_all THEN round(coalesce(max(s.state_minutes), 0), 2) END AS value,
    CASE
        WHEN NOT p.sees_all THEN 'This role may not see what others do.'
        ELSE format('Sessions idle in a transaction: %s.', count(s.pid))
    END AS message
FROM privilege AS p
LEFT JOIN sessions AS s ON s.state LIKE 'idle in transaction%'
GROUP BY p.sees_all
UNION ALL
SELECT
    'long_running_queries' AS check_name,
    CASE WHEN p.sees_all THEN round(coalesce(max(s.query_minutes), 0), 2) END AS value,
    CASE
        WHEN NOT p.sees_all THEN 'This role may not see what others do.'
        ELSE format('Statements running: %s.', count(s.pid))
    END AS message
FROM privilege AS p
LEFT JOIN sessions AS s ON s.state = 'active'
GROUP BY p.sees_all
UNION ALL
SELECT
    'wraparound' AS check_name,
    round(max(100.0 * age(d.datfrozenxid) / 2147483648), 1) AS value,
    format('The oldest transaction id of a database is %s transactions back.', max(age(d.datfrozenxid))) AS message
FROM pg_database AS d
UNION ALL
SELECT
    'sequences' AS check_name,
    CASE WHEN count(*) FILTER (WHERE NOT s.is_readable) = 0 THEN round(coalesce(max(s.percent), 0), 1) END AS value,
    CASE
        WHEN count(*) FILTER (WHERE NOT s.is_readable) > 0 THEN 'This role may not read every sequence.'
        ELSE coalesce(
            'The fullest is ' || (array_agg(s.sequencename ORDER BY s.percent DESC NULLS LAST))[1] || '.',
            'There are none.'
        )
    END AS message
FROM (
    SELECT
        p.sequencename,
        100.0 * p.last_value / p.max_value AS percent,
        -- A sequence that may not be read has the same NULL as one that was never used.
        has_sequence_privilege(c.oid, 'SELECT, USAGE') AS is_readable
    FROM pg_sequences AS p
    INNER JOIN pg_namespace AS n ON p.schemaname = n.nspname
    INNER JOIN pg_class AS c ON n.oid = c.relnamespace AND p.sequencename = c.relname
    WHERE p.increment_by > 0 AND NOT p.cycle
) AS s
UNION ALL
SELECT
    'invalid_indexes' AS check_name,
    count(*)::numeric AS value,
    coalesce('Invalid: ' || string_agg(i.indexrelid::regclass::text, ', ') || '.', 'Every index is valid.') AS message
FROM pg_index AS i
WHERE
    NOT i.indisvalid
    AND NOT EXISTS (
        SELECT
        FROM pg_stat_progress_create_index AS b
        WHERE b.index_relid = i.indexrelid
    )
UNION ALL
SELECT
    'disabled_triggers' AS check_name,
    count(*)::numeric AS value,
    coalesce(string_agg(t.trouble, ', ' ORDER BY t.trouble) || '.', 'Every trigger is in place.') AS message
FROM (
    SELECT format('%s on %s is disabled', g.tgname, g.tgrelid::regclass) AS trouble
    FROM pg_trigger AS g
    WHERE g.tgenabled IN ('D', 'R')
    UNION ALL
    -- An insert straight into a partition is counted by the partition's own trigger.
    SELECT format('count_usage on %s is missing', f.relid) AS trouble
    FROM pg_partition_tree('api_usage') AS f
    WHERE
        NOT EXISTS (
            SELECT
            FROM pg_trigger AS g
            WHERE g.tgrelid = f.relid AND g.tgname = 'count_usage'
        )
) AS t
UNION ALL
SELECT
    'dead_rows' AS check_name,
    coalesce(max(d.percent), 0) AS value,
    coalesce(
        string_agg(
            format('%s %s %%, vacuumed %s', d.relid::regclass, d.percent, coalesce(d.vacuumed_at::text, 'never')),
            ', '
            ORDER BY d.percent DESC
        ) || '.',
        'No table has over a thousand dead rows.'
    ) AS message
FROM (
    SELECT
        s.relid,
        round(100.0 * s.n_dead_tup / (s.n_live_tup + s.n_dead_tup), 1) AS percent,
        date_trunc('second', greatest(s.last_vacuum, s.last_autovacuum)) AS vacuumed_at
    FROM pg_stat_user_tables AS s
    INNER JOIN pg_class AS c ON s.relid = c.oid
    LEFT JOIN LATERAL pg_options_to_table(c.reloptions) AS o ON o.option_name = 'autovacuum_vacuum_threshold'
    -- A queue lets dead rows pile up to a threshold of its own, as its rows live for seconds; twice that is neglect.
    WHERE s.n_dead_tup > greatest(1000, 2 * coalesce(o.option_value::bigint, 0))
    ORDER BY percent DESC
    LIMIT 3
) AS d
UNION ALL
SELECT
    'replication_lag' AS check_name,
    CASE
        WHEN count(r.pid) = 0 THEN 0
        WHEN p.sees_all THEN round(coalesce(max(extract(EPOCH FROM r.replay_lag)), 0), 1)
    END AS value,
    CASE
        WHEN count(r.pid) = 0 THEN 'No replica is connected.'
        WHEN p.sees_all THEN format('Replicas connected: %s.', count(r.pid))
        ELSE 'This role may not see what replicas do.'
    END AS message
FROM privilege AS p
LEFT JOIN pg_stat_replication AS r ON true
GROUP BY p.sees_all;
