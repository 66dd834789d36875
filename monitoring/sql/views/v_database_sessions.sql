-- Who holds a connection to this database, and what for; who waits longest for whom comes first. The id is that of log
-- lines (%c): when the session began and its process, so that a process number that was given again is not mistaken for
-- it. What others do is NULL for a role that may not see it (pg_read_all_stats).
CREATE VIEW v_database_sessions AS
WITH sessions AS MATERIALIZED (
    SELECT
        a.*,
        pg_blocking_pids(a.pid) AS blockers
    FROM pg_stat_activity AS a
    WHERE
        a.datname = current_database()
        AND a.usename IS NOT NULL
        AND coalesce(a.backend_type, 'client backend') = 'client backend'
)

SELECT
    concat_ws('.', to_hex(extract(EPOCH FROM s.backend_start)::bigint), to_hex(s.pid)) AS session_id,
    s.pid,
    nullif(s.application_name, '') AS application_name,
    s.usename::text AS username,
    CASE
        WHEN s.client_port = -1 THEN 'this machine'
        ELSE coalesce(s.client_hostname, host(s.client_addr))
    END AS client,
    coalesce(s.state, 'unknown') AS state,
    s.state_change AS since,
    s.xact_start AS transaction_since,
    s.wait_event_type || ': ' || s.wait_event AS wait_event,
    nullif(array_to_string(s.blockers, ', '), '') AS blocked_by,
    (
        SELECT string_agg(w.pid::text, ', ' ORDER BY w.pid)
        FROM sessions AS w
        WHERE s.pid = any(w.blockers)
    ) AS blocks,
    left(s.query, 2000) AS query,
    s.pid = pg_backend_pid() AS is_own
FROM sessions AS s;
