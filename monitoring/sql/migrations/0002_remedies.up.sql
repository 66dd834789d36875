-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/health_checks
UPDATE health_checks SET remediation = 'Press "Sync from Stripe" on the customer''s page: the event that said what happened was lost.' WHERE check_name = 'stale_subscriptions';
UPDATE health_checks SET remediation = 'Press "Fix orphans" on the page Customers, or run manage.py fix_orphans --apply: each gets the free plan. ' || 'Then run manage.py reconcile_stripe, in case Stripe has a paid one.' WHERE check_name = 'orphaned_stripe_customers';
UPDATE health_checks SET remediation = 'Ask the customer which one to keep and press "Cancel subscription" on the page of the other, ending it now: ' || 'they are charged for both.' WHERE check_name = 'duplicate_subscriptions';
UPDATE health_checks SET remediation = 'Press "Link to a customer" or "Create a customer" on the page Unmatched customers: the events that wait are ' || 'then tried again by themselves.' WHERE check_name = 'unmatched_stripe_customers';
UPDATE health_checks SET remediation = 'Ask whether they need help to get started, and press "Create key" on the customer''s page; who never calls ' || 'the API cancels.' WHERE check_name = 'paid_users_without_keys';
UPDATE health_checks SET remediation = 'Offer the next plan before requests are refused; it ends with the new plan, or with the month.' WHERE check_name = 'users_near_limit';
UPDATE health_checks SET remediation = 'Read the last error and remove its cause; then press "Retry webhooks" on the page Failed events, or run ' || 'manage.py retry_webhooks --apply.' WHERE check_name = 'failed_webhooks';
UPDATE health_checks SET remediation = 'Read the last error and remove its cause; then press "Retry webhooks" on the page Failed events, or run ' || 'manage.py retry_webhooks --apply: nothing retries it by itself.' WHERE check_name = 'dead_webhooks';
UPDATE health_checks SET remediation = 'See on the page Workers whether one is alive, and start it with manage.py worker; run manage.py run_job webhooks.' WHERE check_name = 'webhook_delay';
UPDATE health_checks SET remediation = 'Look at endpoint and status on the page Repeated failures: broken client, broken release or an attack on ' || 'keys. Press "Revoke" on the page of a stolen key. It ends an hour after the last failures.' WHERE check_name = 'error_rate';
UPDATE health_checks SET remediation = 'Run manage.py run_job partitions; if it fails, its error says which lock or table is in the way.' WHERE check_name = 'partitions_ahead';
UPDATE health_checks SET remediation = 'Run manage.py run_job partitions: it makes the missing month and moves the rows there.' WHERE check_name = 'default_partition_rows';
UPDATE health_checks SET remediation = 'Run manage.py run_job rollup. Counts stay exact meanwhile, but reading them gets slower.' WHERE check_name = 'unfolded_usage';
UPDATE health_checks SET remediation = 'Run manage.py run_job rollup; press "End session" on the page Connections for a transaction that has been ' || 'writing usage for long.' WHERE check_name = 'unfolded_traffic';
UPDATE health_checks SET remediation = 'See on the page Workers what each is busy with; start the worker anew: manage.py worker.' WHERE check_name = 'queue_age';
UPDATE health_checks SET remediation = 'Start or restart the worker: manage.py worker; events and jobs wait for it.' WHERE check_name = 'worker_silence';
UPDATE health_checks SET remediation = 'See whether the worker runs, then run manage.py run_job NAME, or press "Run now" on the job''s page.' WHERE check_name = 'overdue_jobs';
UPDATE health_checks SET remediation = 'Read the error of the run on the page Jobs and remove its cause; then run manage.py run_job NAME, or press ' || '"Run now" on the job''s page.' WHERE check_name = 'failed_jobs';
UPDATE health_checks SET remediation = 'See on the page Connections who holds them, and press "End session"; restart a leaking service or put ' || 'PgBouncer in front.' WHERE check_name = 'connections';
UPDATE health_checks SET remediation = 'Press "End session" on the page Connections for the one that blocks, whose process the message names; in ' || 'psql SELECT pg_terminate_backend(pid).' WHERE check_name = 'blocked_sessions';
UPDATE health_checks SET remediation = 'Press "End session" on the page Connections, and correct the program that forgot to commit: it holds back ' || 'vacuum and locks.' WHERE check_name = 'idle_in_transaction';
UPDATE health_checks SET remediation = 'Look at the statement on the page Connections, and press "Cancel query"; in psql SELECT pg_cancel_backend(pid).' WHERE check_name = 'long_running_queries';
UPDATE health_checks SET remediation = 'Find what holds vacuum back (old transactions, replication slots, prepared transactions), then in psql, in ' || 'each database: VACUUM (FREEZE).' WHERE check_name = 'wraparound';
UPDATE health_checks SET remediation = 'Before inserts fail, in psql: ALTER TABLE t ALTER COLUMN c TYPE bigint; ALTER SEQUENCE s AS ' || 'bigint.' WHERE check_name = 'sequences';
UPDATE health_checks SET remediation = 'An index build was interrupted. In psql: REINDEX INDEX CONCURRENTLY i; or run manage.py run_job verify, ' || 'and press "Repair" on the page Schema differences.' WHERE check_name = 'invalid_indexes';
UPDATE health_checks SET remediation = 'Run manage.py run_job verify, and press "Repair" on the page Schema differences, or run in psql what ' || 'manage.py database verify --sql prints. What was written meanwhile is neither counted nor audited: run ' || 'manage.py run_job sync.' WHERE check_name = 'disabled_triggers';
UPDATE health_checks SET remediation = 'Autovacuum does not keep up: end old transactions on the page Connections, then in psql: VACUUM (ANALYZE) t.' WHERE check_name = 'dead_rows';
UPDATE health_checks SET remediation = 'See whether the replica runs and has capacity; an abandoned replication slot goes in psql by SELECT ' || 'pg_drop_replication_slot(name).' WHERE check_name = 'replication_lag';
UPDATE health_checks SET remediation = 'See on the page Failed authentication which source and account or key prefix it is: somebody is locked out, ' || 'or guesses. Block a source that guesses at the proxy. It ends an hour after the last failures.' WHERE check_name = 'authentication_failures';
UPDATE health_checks SET remediation = 'Run manage.py database backup and read what it says; see on the page Jobs whether backup is scheduled.' WHERE check_name = 'backup_age';
UPDATE health_checks SET remediation = 'Run manage.py database drill and read what it says: a backup counts once it was restored.' WHERE check_name = 'restore_drill_age';
UPDATE health_checks SET remediation = 'Read the error on the page Backups and remove its cause (space, rights, client older than the server); then ' || 'run manage.py database backup, and manage.py database drill.' WHERE check_name = 'failed_backups';
UPDATE health_checks SET remediation = 'Press "Repair" on the page Schema differences, or run in psql what manage.py database verify --sql prints: ' || 'it mends each difference or says what to do. Then run manage.py run_job verify.' WHERE check_name = 'drift';
/* The table is now:
-- What v_system_health watches, and from where on it warns: operators change the thresholds. A value above critical_at
-- (below it, where lower is worse) is critical, above warning_at a warning; a NULL threshold never triggers.
CREATE TABLE health_checks (
    check_name text CONSTRAINT health_checks_pkey PRIMARY KEY,
    title text NOT NULL,
    unit text NOT NULL,
    lower_is_worse boolean NOT NULL DEFAULT false,
    warning_at numeric,
    critical_at numeric,
    is_enabled boolean NOT NULL DEFAULT true,
    remediation text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT health_checks_name_plain CHECK (check_name ~ '^[a-z][a-z0-9_]*$'),
    CONSTRAINT health_checks_not_negative CHECK (warning_at >= 0 AND critical_at >= 0),
    CONSTRAINT health_checks_critical_is_worse CHECK (
        CASE WHEN lower_is_worse THEN critical_at <= warning_at ELSE critical_at >= warning_at END
    )
);

INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation)
VALUES
(
    'stale_subscriptions', 'Subscriptions past their end', 'days', false, 1, 3,
    'Press "Sync from Stripe" on the customer''s page: the event that said what happened was lost.'
),
(
    'orphaned_stripe_customers', 'Stripe customers without a subscription', 'customers', false, 10, NULL,
    'Press "Fix orphans" on the page Customers, or run manage.py fix_orphans --apply: each gets the free plan. '
    || 'Then run manage.py reconcile_stripe, in case Stripe has a paid one.'
),
(
    'duplicate_subscriptions', 'Customers with two subscriptions at Stripe', 'customers', false, 0, NULL,
    'Ask the customer which one to keep and press "Cancel subscription" on the page of the other, ending it now: '
    || 'they are charged for both.'
),
(
    'unmatched_stripe_customers', 'Customers at Stripe who belong to nobody here', 'customers', false, 0, NULL,
    'Press "Link to a customer" or "Create a customer" on the page Unmatched customers: the events that wait are '
    || 'then tried again by themselves.'
),
(
    'paid_users_without_keys', 'Paying customers without an API key', 'customers', false, NULL, NULL,
    'Ask whether they need help to get started, and press "Create key" on the customer''s page; who never calls '
    || 'the API cancels.'
),
(
    'users_near_limit', 'Highest share of a monthly limit used', '%', false, 80, NULL,
    'Offer the next plan before requests are refused; it ends with the new plan, or with the month.'
),
(
    'failed_webhooks', 'Most attempts of a failed event', 'attempts', false, 0, 3,
    'Read the last error and remove its cause; then press "Retry webhooks" on the page Failed events, or run '
    || 'manage.py retry_webhooks --apply.'
),
(
    'dead_webhooks', 'Events given up', 'events', false, 0, 0,
    'Read the last error and remove its cause; then press "Retry webhooks" on the page Failed events, or run '
    || 'manage.py retry_webhooks --apply: nothing retries it by itself.'
),
(
    'webhook_delay', 'Longest wait of an event that is due', 'minutes', false, 5, 15,
    'See on the page Workers whether one is alive, and start it with manage.py worker; run manage.py run_job webhooks.'
),
(
    'error_rate', 'Failed requests of one customer in an hour', 'requests', false, NULL, 50,
    'Look at endpoint and status on the page Repeated failures: broken client, broken release or an attack on '
    || 'keys. Press "Revoke" on the page of a stolen key. It ends an hour after the last failures.'
),
(
    'partitions_ahead', 'Months with a partition ahead', 'months', true, 2, 1,
    'Run manage.py run_job partitions; if it fails, its error says which lock or table is in the way.'
),
(
    'default_partition_rows', 'Rows in a default partition', 'rows', false, 0, NULL,
    'Run manage.py run_job partitions: it makes the missing month and moves the rows there.'
),
(
    'unfolded_usage', 'Counted usage in the queue', 'rows', false, 50000, 500000,
    'Run manage.py run_job rollup. Counts stay exact meanwhile, but reading them gets slower.'
),
(
    'unfolded_traffic', 'Requests not in the traffic tables yet', 'requests', false, 200000, 2000000,
    'Run manage.py run_job rollup; press "End session" on the page Connections for a transaction that has been '
    || 'writing usage for long.'
),
(
    'queue_age', 'Longest wait of a queued task', 'minutes', false, 5, 15,
    'See on the page Workers what each is busy with; start the worker anew: manage.py worker.'
),
(
    'worker_silence', 'Time since the worker gave a sign of life', 'minutes', false, 2, 5,
    'Start or restart the worker: manage.py worker; events and jobs wait for it.'
),
(
    'overdue_jobs', 'Jobs past their time', 'jobs', false, 0, 2,
    'See whether the worker runs, then run manage.py run_job NAME, or press "Run now" on the job''s page.'
),
(
    'failed_jobs', 'Jobs whose last run failed', 'jobs', false, 0, NULL,
    'Read the error of the run on the page Jobs and remove its cause; then run manage.py run_job NAME, or press '
    || '"Run now" on the job''s page.'
),
(
    'connections', 'Connections used', '%', false, 60, 80,
    'See on the page Connections who holds them, and press "End session"; restart a leaking service or put '
    || 'PgBouncer in front.'
),
(
    'blocked_sessions', 'Longest wait for a lock', 'minutes', false, 1, 2,
    'Press "End session" on the page Connections for the one that blocks, whose process the message names; in '
    || 'psql SELECT pg_terminate_backend(pid).'
),
(
    'idle_in_transaction', 'Longest idle transaction', 'minutes', false, 5, 15,
    'Press "End session" on the page Connections, and correct the program that forgot to commit: it holds back '
    || 'vacuum and locks.'
),
(
    'long_running_queries', 'Longest running statement', 'minutes', false, 1, 5,
    'Look at the statement on the page Connections, and press "Cancel query"; in psql SELECT pg_cancel_backend(pid).'
),
(
    'wraparound', 'Transaction ids used up', '%', false, 50, 75,
    'Find what holds vacuum back (old transactions, replication slots, prepared transactions), then in psql, in '
    || 'each database: VACUUM (FREEZE).'
),
(
    'sequences', 'Fullest sequence', '%', false, 75, 90,
    'Before inserts fail, in psql: ALTER TABLE t ALTER COLUMN c TYPE bigint; ALTER SEQUENCE s AS '
    || 'bigint.'
),
(
    'invalid_indexes', 'Invalid indexes', 'indexes', false, 0, NULL,
    'An index build was interrupted. In psql: REINDEX INDEX CONCURRENTLY i; or run manage.py run_job verify, '
    || 'and press "Repair" on the page Schema differences.'
),
(
    'disabled_triggers', 'Disabled or missing triggers', 'triggers', false, 0, 0,
    'Run manage.py run_job verify, and press "Repair" on the page Schema differences, or run in psql what '
    || 'manage.py database verify --sql prints. What was written meanwhile is neither counted nor audited: run '
    || 'manage.py run_job sync.'
),
(
    'dead_rows', 'Largest share of dead rows in a table', '%', false, 20, 50,
    'Autovacuum does not keep up: end old transactions on the page Connections, then in psql: VACUUM (ANALYZE) t.'
),
(
    'replication_lag', 'Replication lag', 'seconds', false, 60, 300,
    'See whether the replica runs and has capacity; an abandoned replication slot goes in psql by SELECT '
    || 'pg_drop_replication_slot(name).'
),
(
    'authentication_failures', 'Failed proofs of identity from one source in an hour', 'failures', false, 20, 100,
    'See on the page Failed authentication which source and account or key prefix it is: somebody is locked out, '
    || 'or guesses. Block a source that guesses at the proxy. It ends an hour after the last failures.'
),
(
    'backup_age', 'Time since the last good backup', 'hours', false, 26, 50,
    'Run manage.py database backup and read what it says; see on the page Jobs whether backup is scheduled.'
),
(
    'restore_drill_age', 'Time since the last good restore drill', 'days', false, 32, 62,
    'Run manage.py database drill and read what it says: a backup counts once it was restored.'
),
(
    'failed_backups', 'Backups or drills that failed last', 'kinds', false, 0, NULL,
    'Read the error on the page Backups and remove its cause (space, rights, client older than the server); then '
    || 'run manage.py database backup, and manage.py database drill.'
),
(
    'drift', 'Differences from what the migrations define', 'differences', false, 0, NULL,
    'Press "Repair" on the page Schema differences, or run in psql what manage.py database verify --sql prints: '
    || 'it mends each difference or says what to do. Then run manage.py run_job verify.'
);
*/

--! functions/top_queries
-- The hundred statements of this database that took the most time since pg_stat_statements was last reset; none where
-- it is not installed or not loaded. What others ran is hidden from a role without pg_read_all_stats.
CREATE FUNCTION top_queries() RETURNS TABLE (
    query_id bigint, username text, calls bigint, total_ms numeric, mean_ms numeric, percent_of_time numeric,
    rows_returned bigint, query text
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    home CONSTANT text := (
        SELECT e.extnamespace::regnamespace::text FROM pg_extension AS e WHERE e.extname = 'pg_stat_statements'
    );
BEGIN
    IF home IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT s.queryid, r.rolname::text, s.calls, round(s.total_exec_time::numeric, 1),
            round(s.mean_exec_time::numeric, 2),
            round((100 * s.total_exec_time / nullif(sum(s.total_exec_time) OVER (), 0))::numeric, 1),
            s.rows, left(s.query, 2000)
        FROM %s.pg_stat_statements AS s
        LEFT JOIN pg_roles AS r ON r.oid = s.userid
        WHERE s.dbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AND s.toplevel
        ORDER BY s.total_exec_time DESC
        LIMIT 100',
        home
    );
EXCEPTION
    WHEN object_not_in_prerequisite_state THEN -- not in shared_preload_libraries
        RETURN;
END
$$;

--! views/v_database_sessions
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

--! views/v_index_findings
-- Indexes that cost writes and space and give nothing: not read since the statistics were last reset, or made
-- superfluous by another one that begins with the same columns. Those that hold a rule (unique, exclusion) are none.
-- Parts of a partitioned index are counted with it.
CREATE VIEW v_index_findings AS
WITH indexes AS MATERIALIZED (
    SELECT
        x.indexrelid,
        x.indrelid,
        c.relname AS index_name,
        c.relam,
        x.indisunique OR x.indisexclusion AS holds_a_rule,
        x.indkey::text || ' ' AS columns,
        x.indclass::text || ' ' AS classes,
        x.indcollation::text || ' ' AS collations,
        x.indoption::text || ' ' AS orders,
        coalesce(pg_get_expr(x.indpred, x.indrelid), '') AS condition,
        x.indexprs IS NOT NULL AS has_expressions,
        family.bytes,
        family.scans
    FROM pg_index AS x
    INNER JOIN pg_class AS c ON x.indexrelid = c.oid
    INNER JOIN LATERAL (
        SELECT
            sum(pg_relation_size(part.relid))::bigint AS bytes,
            sum(s.idx_scan)::bigint AS scans
        FROM (
            SELECT x.indexrelid AS relid
            UNION
            SELECT t.relid
            FROM pg_partition_tree(x.indexrelid) AS t
        ) AS part
        LEFT JOIN pg_stat_all_indexes AS s ON part.relid = s.indexrelid
    ) AS family ON true
    WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND x.indisvalid
)

SELECT
    i.index_name::text AS index_name,
    i.indrelid::regclass::text AS table_name,
    found.problem,
    found.detail,
    i.bytes,
    i.scans,
    pg_get_indexdef(i.indexrelid) AS definition
FROM indexes AS i
INNER JOIN LATERAL (
    SELECT
        'duplicate' AS problem,
        format('%s begins with the same columns.', other.index_name) AS detail
    FROM indexes AS other
    WHERE
        other.indrelid = i.indrelid AND other.indexrelid <> i.indexrelid AND other.relam = i.relam
        AND NOT i.holds_a_rule AND NOT i.has_expressions AND NOT other.has_expressions
        AND starts_with(other.columns, i.columns) AND starts_with(other.classes, i.classes)
        AND starts_with(other.collations, i.collations) AND starts_with(other.orders, i.orders)
        AND other.condition = i.condition
        -- Of two that are the same the younger is superfluous.
        AND (other.columns <> i.columns OR other.holds_a_rule OR other.indexrelid < i.indexrelid)
    UNION ALL
    SELECT
        'unused' AS problem,
        format(
            'Not read since %s.',
            coalesce(date_trunc('second', d.stats_reset)::text, 'the statistics of this database began')
        ) AS detail
    FROM pg_stat_database AS d
    -- Of a small table no index is read: its rows are quicker to read whole.
    WHERE
        d.datname = current_database() AND i.scans = 0 AND NOT i.holds_a_rule AND i.bytes >= 1048576
    LIMIT 1
) AS found ON true;

--! views/v_schema_differences
-- What the job `verify` last found to differ from the definitions, a row each, with the statements that mend it.
CREATE VIEW v_schema_differences AS
SELECT
    concat_ws(' ', d.found ->> 'kind', d.found ->> 'name') AS id,
    d.found ->> 'problem' AS problem,
    d.found ->> 'kind' AS kind,
    d.found ->> 'name' AS name,
    d.found ->> 'detail' AS detail,
    d.found ->> 'sql' AS sql,
    r.finished_at AS found_at
FROM last_job_runs AS r
CROSS JOIN LATERAL jsonb_array_elements(coalesce(r.detail -> 'found', '[]')) AS d (found)
WHERE r.job = 'verify' AND r.kind = 'did_not_fail';

--! views/v_top_queries
-- The statements that took the most time, the longest first.
CREATE VIEW v_top_queries AS
SELECT
    concat_ws('.', t.username, t.query_id) AS id,
    t.query,
    t.calls,
    t.total_ms,
    t.mean_ms,
    t.percent_of_time,
    t.rows_returned,
    t.username
FROM top_queries() AS t;
