-- Checks on the database server; of sessions only on those in this database. A NULL value is unknown: this role may not
-- see it (pg_read_all_stats).
CREATE VIEW health_of_postgres AS
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
),

-- Not pg_partition_tree(), which waits for locks on each.
counted AS (
    SELECT 'api_usage'::regclass AS relid
    UNION ALL
    SELECT i.inhrelid::regclass AS relid
    FROM pg_inherits AS i
    WHERE i.inhparent = 'api_usage'::regclass
),

holders AS (
    SELECT
        a.usename,
        count(*) AS sessions
    FROM pg_stat_activity AS a
    WHERE a.usename IS NOT NULL
    GROUP BY a.usename
)

SELECT
    'connections' AS check_name,
    c.percent_used::numeric AS value,
    format(
        '%s of %s connections are used: %s.',
        c.total,
        c.max_connections,
        (
            SELECT
                string_agg(
                    format(
                        '%s by %s as %s', t.sessions, coalesce(nullif(t.application_name, ''), 'somebody'), t.usename
                    ),
                    ', '
                    ORDER BY t.sessions DESC, t.application_name ASC
                )
            FROM (
                SELECT
                    a.usename,
                    a.application_name,
                    count(*) AS sessions
                FROM pg_stat_activity AS a
                WHERE a.usename IS NOT NULL
                GROUP BY a.usename, a.application_name
                ORDER BY sessions DESC, a.application_name ASC
                LIMIT 3
            ) AS t
        )
    ) AS message
FROM v_database_connections AS c
UNION ALL
-- What is left of the connections that a role may have is for its own programs only.
SELECT
    'role_connections' AS check_name,
    coalesce(round(max(100.0 * coalesce(h.sessions, 0) / r.rolconnlimit), 1), 0) AS value,
    coalesce(
        string_agg(
            format(
                '%s has %s of %s left', r.rolname, greatest(r.rolconnlimit - coalesce(h.sessions, 0), 0), r.rolconnlimit
            ),
            ', '
            ORDER BY coalesce(h.sessions, 0)::numeric / r.rolconnlimit DESC, r.rolname ASC
        ) || '.',
        'No role has a limit.'
    ) AS message
FROM pg_roles AS r
LEFT JOIN holders AS h ON r.rolname = h.usename
WHERE r.rolconnlimit > 0 AND r.rolcanlogin
UNION ALL
SELECT
    'retained_wal' AS check_name,
    coalesce(round(max(s.bytes) / 1073741824, 2), 0) AS value,
    coalesce(
        string_agg(
            format(
                'Slot %s (%s) keeps %s',
                s.slot_name, CASE WHEN s.active THEN 'active' ELSE 'nobody reads it' END, pg_size_pretty(s.bytes)
            ),
            ', '
            ORDER BY s.bytes DESC, s.slot_name ASC
        ) || '.',
        'There is no replication slot.'
    ) AS message
FROM (
    SELECT
        p.slot_name,
        p.active,
        pg_wal_lsn_diff(
            CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, p.restart_lsn
        ) AS bytes
    FROM pg_replication_slots AS p
    WHERE p.restart_lsn IS NOT NULL
) AS s
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
    FROM counted AS f
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

-- What it says is no secret, and who may read v_system_health reads it as themselves.
GRANT SELECT ON health_of_postgres TO public;
