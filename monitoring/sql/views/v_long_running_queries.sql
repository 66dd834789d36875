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
