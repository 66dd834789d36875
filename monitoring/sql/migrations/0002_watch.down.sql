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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('alerts_of_customers', 'alerts_of_errors', 'alerts_of_jobs', 'alerts_of_limits', 'alerts_of_subscriptions', 'current_silences', 'enabled_checks', 'health_of_customers', 'health_of_disks', 'health_of_errors', 'health_of_jobs', 'health_of_limits', 'health_of_machines', 'health_of_measuring', 'health_of_partitions', 'health_of_postgres', 'health_of_queue', 'health_of_requests', 'health_of_sequences', 'health_of_strays', 'health_of_subscriptions', 'health_of_worker', 'v_alerts', 'v_critical_alerts', 'v_failed_webhook_events', 'alerts_of_events', 'health_of_events', 'v_system_health') AND a.grantee <> c.relowner;

DROP VIEW v_system_health;
DROP VIEW health_of_events;
DROP VIEW alerts_of_events;
DROP VIEW v_failed_webhook_events;
DROP VIEW v_critical_alerts;
DROP VIEW v_alerts;
DROP VIEW health_of_worker;
DROP VIEW health_of_subscriptions;
DROP VIEW health_of_strays;
DROP VIEW health_of_sequences;
DROP VIEW health_of_requests;
DROP VIEW health_of_queue;
DROP VIEW health_of_postgres;
DROP VIEW health_of_partitions;
DROP VIEW health_of_measuring;
DROP VIEW health_of_machines;
DROP VIEW health_of_limits;
DROP VIEW health_of_jobs;
DROP VIEW health_of_errors;
DROP VIEW health_of_disks;
DROP VIEW health_of_customers;
DROP VIEW enabled_checks;
DROP VIEW current_silences;
DROP VIEW alerts_of_subscriptions;
DROP VIEW alerts_of_limits;
DROP VIEW alerts_of_jobs;
DROP VIEW alerts_of_errors;
DROP VIEW alerts_of_customers;

ALTER TABLE alerts DROP COLUMN objects;
ALTER TABLE alerts DROP COLUMN consequences;
ALTER TABLE alerts DROP COLUMN muted_by;
ALTER TABLE alerts DROP COLUMN silenced_until;
ALTER TABLE alerts DROP COLUMN told_message;
/* The table is now:
-- One row an episode: from the first failing evaluation of a check on an object until it is good again.
CREATE TABLE alerts (
    id uuid CONSTRAINT alerts_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    fingerprint text NOT NULL,
    alert_type text NOT NULL,
    subject text NOT NULL,
    severity text NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    message text NOT NULL DEFAULT '',
    remediation text NOT NULL DEFAULT '',
    value numeric,
    evaluations_failing int NOT NULL DEFAULT 1,
    evaluations_better int NOT NULL DEFAULT 0,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    fired_at timestamptz,
    notified_at timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    snoozed_until timestamptz,
    snoozed_by text,
    note text NOT NULL DEFAULT '',
    resolved_at timestamptz,
    object_type text,
    object_id text,
    CONSTRAINT alerts_fingerprint_given CHECK (fingerprint <> ''),
    CONSTRAINT alerts_severity_known CHECK (severity IN ('critical', 'warning', 'info')),
    CONSTRAINT alerts_state_known CHECK (state IN ('pending', 'firing', 'acknowledged', 'snoozed', 'resolved')),
    CONSTRAINT alerts_counts_not_negative CHECK (evaluations_failing >= 0 AND evaluations_better >= 0),
    CONSTRAINT alerts_fired_is_dated CHECK ((state = 'pending') = (fired_at IS NULL)),
    CONSTRAINT alerts_acknowledged_is_signed CHECK (
        state <> 'acknowledged' OR (acknowledged_at IS NOT NULL AND acknowledged_by IS NOT NULL)
    ),
    CONSTRAINT alerts_snoozed_is_signed CHECK (
        state <> 'snoozed' OR (snoozed_until IS NOT NULL AND snoozed_by IS NOT NULL)
    ),
    CONSTRAINT alerts_resolved_is_dated CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);

CREATE UNIQUE INDEX alerts_one_open_per_fingerprint ON alerts (fingerprint) WHERE state <> 'resolved';
CREATE INDEX alerts_resolved_at ON alerts (resolved_at) WHERE state = 'resolved';

-- The back office's sorts and filters.
CREATE INDEX alerts_fired_at ON alerts (fired_at);
CREATE INDEX alerts_state ON alerts (state, fired_at);
CREATE INDEX alerts_severity ON alerts (severity, fired_at);
CREATE INDEX alerts_type ON alerts (alert_type, fired_at);
CREATE INDEX alerts_fingerprint ON alerts (fingerprint text_pattern_ops);
CREATE INDEX alerts_subject ON alerts (upper(subject) text_pattern_ops);
*/

DELETE FROM health_checks WHERE check_name = 'unmeasured_checks';
DELETE FROM health_checks WHERE check_name = 'role_connections';
DELETE FROM health_checks WHERE check_name = 'retained_wal';
DELETE FROM health_checks WHERE check_name = 'failures_in_a_row';
DELETE FROM health_checks WHERE check_name = 'switched_off_jobs';
DELETE FROM health_checks WHERE check_name = 'disk_used';
DELETE FROM health_checks WHERE check_name = 'disk_full_in';
DELETE FROM health_checks WHERE check_name = 'alert_channels';
DELETE FROM health_checks WHERE check_name = 'heartbeat_url';
DELETE FROM health_checks WHERE check_name = 'stripe_mode';
DELETE FROM health_checks WHERE check_name = 'other_mode_events';
DELETE FROM health_checks WHERE check_name = 'missing_rights';
UPDATE health_checks SET warning_at = 2, critical_at = 5 WHERE check_name = 'worker_silence';
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
    'Sync the customer from Stripe; if Stripe says it ended, the event that said so was lost.'
),
(
    'orphaned_stripe_customers', 'Stripe customers without a subscription', 'customers', false, 10, NULL,
    'Fix orphans gives each of them the free plan; then reconcile, in case Stripe has a paid one.'
),
(
    'duplicate_subscriptions', 'Customers with two subscriptions at Stripe', 'customers', false, 0, NULL,
    'Ask the customer which one to keep and cancel the other at Stripe; they are charged for both.'
),
(
    'unmatched_stripe_customers', 'Customers at Stripe who belong to nobody here', 'customers', false, 0, NULL,
    'Link each to a customer by hand, or create one, then replay the events that wait.'
),
(
    'paid_users_without_keys', 'Paying customers without an API key', 'customers', false, NULL, NULL,
    'Ask whether they need help to get started; who never calls the API cancels.'
),
(
    'users_near_limit', 'Highest share of a monthly limit used', '%', false, 80, NULL,
    'Offer the next plan before requests are refused.'
),
(
    'failed_webhooks', 'Most attempts of a failed event', 'attempts', false, 0, 3,
    'Read the last error, remove its cause, then retry the event.'
),
(
    'dead_webhooks', 'Events given up', 'events', false, 0, 0,
    'Read the last error, remove its cause, then replay the event: nothing retries it by itself.'
),
(
    'webhook_delay', 'Longest wait of an event that is due', 'minutes', false, 5, 15,
    'See whether the worker runs and what it does; run the webhooks job by hand.'
),
(
    'error_rate', 'Failed requests of one customer in an hour', 'requests', false, NULL, 50,
    'Look at the endpoint and status: broken client, broken release or an attack on keys.'
),
(
    'partitions_ahead', 'Months with a partition ahead', 'months', true, 2, 1,
    'Run the partitions job; if it fails, its error says which lock or table is in the way.'
),
(
    'default_partition_rows', 'Rows in a default partition', 'rows', false, 0, NULL,
    'Run the partitions job: it makes the missing month and moves the rows there.'
),
(
    'unfolded_usage', 'Counted usage in the queue', 'rows', false, 50000, 500000,
    'Run the rollup job. Counts stay exact meanwhile, but reading them gets slower.'
),
(
    'unfolded_traffic', 'Requests not in the traffic tables yet', 'requests', false, 200000, 2000000,
    'Run the rollup job, and end a transaction that has been writing usage for long.'
),
(
    'queue_age', 'Longest wait of a queued task', 'minutes', false, 5, 15,
    'See whether the worker runs and is not stuck; restart it.'
),
(
    'worker_silence', 'Time since the worker gave a sign of life', 'minutes', false, 2, 5,
    'Start or restart the worker (manage.py worker); events and jobs wait for it.'
),
(
    'overdue_jobs', 'Jobs past their time', 'jobs', false, 0, 2,
    'See whether the worker runs, then run the job by hand: manage.py run_job NAME.'
),
(
    'failed_jobs', 'Jobs whose last run failed', 'jobs', false, 0, NULL,
    'Read the error of the run, remove its cause, then run the job again.'
),
(
    'connections', 'Connections used', '%', false, 60, 80,
    'Find who holds them on the connections page; restart a leaking service or put PgBouncer in front.'
),
(
    'blocked_sessions', 'Longest wait for a lock', 'minutes', false, 1, 2,
    'End the blocking session: SELECT pg_terminate_backend(pid), the pid is in the message.'
),
(
    'idle_in_transaction', 'Longest idle transaction', 'minutes', false, 5, 15,
    'End the session and correct the program that forgot to commit; it holds back vacuum and locks.'
),
(
    'long_running_queries', 'Longest running statement', 'minutes', false, 1, 5,
    'Look at the statement on the queries page; SELECT pg_cancel_backend(pid) stops it.'
),
(
    'wraparound', 'Transaction ids used up', '%', false, 50, 75,
    'Find what holds vacuum back (old transactions, replication slots, prepared transactions), then VACUUM FREEZE.'
),
(
    'sequences', 'Fullest sequence', '%', false, 75, 90,
    'Change the column and its sequence to bigint before inserts fail.'
),
(
    'invalid_indexes', 'Invalid indexes', 'indexes', false, 0, NULL,
    'An index build was interrupted: REINDEX INDEX CONCURRENTLY, or drop it.'
),
(
    'disabled_triggers', 'Disabled or missing triggers', 'triggers', false, 0, 0,
    'ALTER TABLE … ENABLE TRIGGER …; what was written meanwhile is neither counted nor audited.'
),
(
    'dead_rows', 'Largest share of dead rows in a table', '%', false, 20, 50,
    'Autovacuum does not keep up: end old transactions, then VACUUM ANALYZE the table.'
),
(
    'replication_lag', 'Replication lag', 'seconds', false, 60, 300,
    'See whether the replica runs and has capacity; an abandoned replication slot must be dropped.'
),
(
    'authentication_failures', 'Failed proofs of identity from one source in an hour', 'failures', false, 20, 100,
    'Look whether somebody is locked out or guesses: authentication_failures names source and account or key prefix.'
),
(
    'backup_age', 'Time since the last good backup', 'hours', false, 26, 50,
    'Run manage.py database backup and read what it says; see whether the schedule runs it.'
),
(
    'restore_drill_age', 'Time since the last good restore drill', 'days', false, 32, 62,
    'Restore the latest backup into an empty database and compare the counts; a backup counts once it was restored.'
),
(
    'failed_backups', 'Backups or drills that failed last', 'kinds', false, 0, NULL,
    'Read the error, remove its cause (space, rights, client older than the server), then run it again.'
),
(
    'drift', 'Differences from what the migrations define', 'differences', false, 0, NULL,
    'manage.py database verify lists all: undo what was done by hand, migrate what is missing, then run the verify job.'
);
*/

ALTER TABLE job_schedules DROP COLUMN switched_off_at;
ALTER TABLE job_schedules DROP COLUMN switched_off_by;
/* The table is now:
-- When each job should run, in numbers that SQL can compare: a mirror of the registry and of what operators changed in
-- the schedules. A job whose next slot passed by more than its grace was missed.
CREATE TABLE job_schedules (
    job text PRIMARY KEY,
    description text NOT NULL,
    cron text NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    timeout_seconds int NOT NULL,
    interval_seconds int NOT NULL,
    grace_seconds int NOT NULL,
    next_due_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_schedules_times_positive CHECK (timeout_seconds > 0 AND interval_seconds > 0 AND grace_seconds > 0)
);
*/

ALTER TABLE worker_heartbeats DROP COLUMN stopped_at;
/* The table is now:
-- Signs of life of the queue's processes, one row each: the pusher's says that the queue is read, a worker's says what
-- it does.
CREATE TABLE worker_heartbeats (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    host text NOT NULL,
    pid int NOT NULL,
    cluster_pid int NOT NULL,
    role text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    pulled_at timestamptz,
    task text,
    task_deadline_at timestamptz,
    CONSTRAINT worker_heartbeats_process UNIQUE (host, pid),
    CONSTRAINT worker_heartbeats_role_known CHECK (role IN ('pusher', 'worker'))
);
*/

-- Checks on the task queue and the jobs. Without any worker or schedule ever seen a value is NULL: unknown.
CREATE VIEW health_of_queue AS
SELECT
    'queue_age' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - q.lock)) / 60, 1), 0)::numeric AS value,
    format('Tasks that wait for a worker: %s.', count(*)) AS message
FROM django_q_ormq AS q
WHERE q.lock <= now()
UNION ALL
SELECT
    'worker_silence' AS check_name,
    round(extract(EPOCH FROM now() - max(h.seen_at)) / 60, 1) AS value,
    coalesce(
        'The queue was last read at ' || date_trunc('second', max(h.seen_at)) || '.', 'No worker has ever run.'
    ) AS message
FROM worker_heartbeats AS h
WHERE h.role = 'pusher'
UNION ALL
SELECT
    'overdue_jobs' AS check_name,
    nullif(count(*), 0) * 0 + count(*) FILTER (WHERE j.is_overdue) AS value,
    coalesce(
        'Overdue: ' || string_agg(j.job, ', ' ORDER BY j.job) FILTER (WHERE j.is_overdue) || '.',
        CASE WHEN count(*) = 0 THEN 'No job is scheduled.' ELSE 'Every job ran in time.' END
    ) AS message
FROM job_health AS j
WHERE j.enabled
UNION ALL
SELECT
    'failed_jobs' AS check_name,
    nullif(count(*), 0) * 0 + count(*) FILTER (WHERE j.has_failed) AS value,
    coalesce(
        'Failed: ' || string_agg(j.job, ', ' ORDER BY j.job) FILTER (WHERE j.has_failed) || '.',
        CASE WHEN count(*) = 0 THEN 'No job is scheduled.' ELSE 'The last run of every job succeeded.' END
    ) AS message
FROM job_health AS j;

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
) AS last;

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

-- Checks on customers, subscriptions and Stripe's events: a value for each and what it means in words.
CREATE VIEW health_of_billing AS
SELECT
    'stale_subscriptions' AS check_name,
    -- Finer than the column shown, so that a moment over the threshold is over it.
    coalesce(round(max(extract(EPOCH FROM now() - s.current_period_end)) / 86400, 4), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'No subscription is past its end.'
        ELSE format('Past their end: %s, the longest by %s days.', count(*), max(s.days_overdue))
    END AS message
FROM v_stale_subscriptions AS s
UNION ALL
SELECT
    'orphaned_stripe_customers' AS check_name,
    count(*)::numeric AS value,
    format('Stripe customers without a live subscription: %s.', count(*)) AS message
FROM v_orphaned_stripe_customers
UNION ALL
SELECT
    'duplicate_subscriptions' AS check_name,
    count(DISTINCT s.user_id)::numeric AS value,
    format('Customers who pay for more than one subscription: %s.', count(DISTINCT s.user_id)) AS message
FROM live_subscriptions AS s
WHERE s.is_duplicate
UNION ALL
SELECT
    'unmatched_stripe_customers' AS check_name,
    count(*)::numeric AS value,
    format('Stripe customers who belong to no customer here: %s.', count(*)) AS message
FROM unmatched_stripe_customers
UNION ALL
SELECT
    'paid_users_without_keys' AS check_name,
    count(*)::numeric AS value,
    format('Paying customers without an API key that works: %s.', count(*)) AS message
FROM v_paid_users_without_keys
UNION ALL
SELECT
    'users_near_limit' AS check_name,
    coalesce(round(max(100.0 * n.usage_count / greatest(n.monthly_request_limit, 1)), 6), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'Nobody has used 80 % of the month''s limit.'
        ELSE format('At 80 %% of the month''s limit or more: %s, the highest at %s %%.', count(*), max(n.percent_used))
    END AS message
FROM v_users_near_limit AS n
UNION ALL
SELECT
    'failed_webhooks' AS check_name,
    coalesce(max(f.attempts), 0)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No event waits to be tried again.'
        ELSE format('Failed events that wait to be tried again: %s; most attempts: %s.', count(*), max(f.attempts))
    END AS message
FROM v_failed_webhook_events AS f
WHERE f.status = 'failed'
UNION ALL
SELECT
    'dead_webhooks' AS check_name,
    count(*)::numeric AS value,
    format('Events given up: %s.', count(*)) AS message
FROM v_failed_webhook_events AS f
WHERE f.status = 'dead'
UNION ALL
SELECT
    'webhook_delay' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - w.due_at)) / 60, 1), 0) AS value,
    CASE count(*)
        WHEN 0 THEN 'No event waits.'
        ELSE format('Events due: %s, the first since %s.', count(*), date_trunc('second', min(w.due_at)))
    END AS message
FROM (
    SELECT coalesce(e.next_retry_at, e.received_at) AS due_at
    FROM stripe_webhook_events AS e
    WHERE e.status IN ('pending', 'failed') AND coalesce(e.next_retry_at, e.received_at) <= now()
    UNION ALL
    -- A claim is void when its lease has run out: its worker died.
    SELECT coalesce(e.processing_started_at, e.received_at) AS due_at
    FROM stripe_webhook_events AS e
    WHERE e.status = 'processing' AND coalesce(e.processing_started_at, e.received_at) <= now() - webhook_lease()
) AS w;

-- What each enabled check measures, judged by its thresholds. A value strictly beyond a threshold (below it, where
-- lower is worse) reaches it. The name is the measurement's own, so that asking for some checks measures only those.
CREATE VIEW judged_health AS
SELECT
    m.check_name,
    CASE
        WHEN m.value IS NULL THEN 'unknown'
        WHEN (c.lower_is_worse AND m.value < c.critical_at) OR (NOT c.lower_is_worse AND m.value > c.critical_at)
            THEN 'critical'
        WHEN (c.lower_is_worse AND m.value < c.warning_at) OR (NOT c.lower_is_worse AND m.value > c.warning_at)
            THEN 'warning'
        ELSE 'ok'
    END AS status,
    m.value,
    m.message,
    c.title
FROM (
    SELECT
        b.check_name,
        b.value,
        b.message
    FROM health_of_billing AS b
    UNION ALL
    SELECT
        r.check_name,
        r.value,
        r.message
    FROM health_of_requests AS r
    UNION ALL
    SELECT
        q.check_name,
        q.value,
        q.message
    FROM health_of_queue AS q
    UNION ALL
    SELECT
        s.check_name,
        s.value,
        s.message
    FROM health_of_server AS s
    UNION ALL
    SELECT
        k.check_name,
        k.value,
        k.message
    FROM health_of_backups AS k
    UNION ALL
    SELECT
        d.check_name,
        d.value,
        d.message
    FROM health_of_schema AS d
    UNION ALL
    SELECT
        i.check_name,
        i.value,
        i.message
    FROM health_of_security AS i
) AS m
INNER JOIN health_checks AS c ON m.check_name = c.check_name
WHERE c.is_enabled;

-- Everything that somebody should know now: one row per check and object. The fingerprint names both and never the
-- value, so that it stays the same while things get better or worse. Thresholds are those of health_checks; a disabled
-- check raises nothing.
CREATE VIEW v_alerts AS
SELECT
    a.check_name || coalesce(':' || a.object_id, '') AS fingerprint,
    a.severity,
    a.check_name AS alert_type,
    a.subject,
    a.message,
    c.remediation,
    a.value,
    a.detected_at,
    a.object_type,
    a.object_id
FROM (
    SELECT
        'stale_subscriptions' AS check_name,
        CASE
            WHEN now() - s.current_period_end > t.critical_at * interval '1 day' THEN 'critical' ELSE 'warning'
        END AS severity,
        coalesce(s.email, s.user_id::text) AS subject,
        format(
            'The %s plan is still %s, %s days after its period ended.', s.tier, s.status, round(s.days_overdue, 1)
        ) AS message,
        s.days_overdue AS value,
        s.current_period_end AS detected_at,
        'subscription' AS object_type,
        s.subscription_id::text AS object_id
    FROM v_stale_subscriptions AS s
    INNER JOIN health_checks AS t ON t.check_name = 'stale_subscriptions'
    WHERE now() - s.current_period_end > least(t.warning_at, t.critical_at) * interval '1 day'
    UNION ALL
    SELECT
        'failed_webhooks' AS check_name,
        CASE WHEN e.status = 'dead' OR e.attempts > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
        format('%s %s', e.event_type, e.stripe_event_id) AS subject,
        format(
            '%s (attempts: %s): %s',
            CASE e.status WHEN 'dead' THEN 'Given up' ELSE 'Failed' END,
            e.attempts,
            coalesce(left(e.last_error, 500), 'no error noted')
        ) AS message,
        e.attempts::numeric AS value,
        e.received_at AS detected_at,
        'webhook_event' AS object_type,
        e.stripe_event_id AS object_id
    FROM v_failed_webhook_events AS e
    INNER JOIN health_checks AS t ON t.check_name = 'failed_webhooks'
    WHERE e.status = 'dead' OR e.attempts > least(t.warning_at, t.critical_at)
    UNION ALL
    SELECT
        'error_rate' AS check_name,
        CASE WHEN f.failures > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
        coalesce(u.email, f.user_id::text) AS subject,
        format('%s requests failed within the last hour.', f.failures) AS message,
        f.failures::numeric AS value,
        f.first_failure_at AS detected_at,
        'user' AS object_type,
        f.user_id::text AS object_id
    FROM failing_users AS f
    INNER JOIN health_checks AS t ON t.check_name = 'error_rate'
    LEFT JOIN users AS u ON f.user_id = u.id
    WHERE f.failures > least(t.warning_at, t.critical_at)
    UNION ALL
    SELECT
        'users_near_limit' AS check_name,
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
        n.user_id::text AS object_id
    FROM v_users_near_limit AS n
    INNER JOIN health_checks AS t ON t.check_name = 'users_near_limit'
    -- Not the rounded percentage: 80.004 % is over 80.
    WHERE 100.0 * n.usage_count > least(t.warning_at, t.critical_at) * n.monthly_request_limit
    UNION ALL
    SELECT
        'duplicate_subscriptions' AS check_name,
        CASE WHEN d.duplicates > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
        coalesce(d.email, d.user_id::text) AS subject,
        format('Pays for %s subscriptions at once.', d.duplicates + 1) AS message,
        d.duplicates::numeric AS value,
        d.since AS detected_at,
        'user' AS object_type,
        d.user_id::text AS object_id
    FROM (
        SELECT
            s.user_id,
            u.email,
            count(*) AS duplicates,
            min(s.created_at) AS since
        FROM live_subscriptions AS s
        INNER JOIN users AS u ON s.user_id = u.id
        WHERE s.is_duplicate
        GROUP BY s.user_id, u.email
    ) AS d
    INNER JOIN health_checks AS t ON t.check_name = 'duplicate_subscriptions'
    WHERE d.duplicates > least(t.warning_at, t.critical_at)
    UNION ALL
    SELECT
        'paid_users_without_keys' AS check_name,
        'info' AS severity,
        coalesce(p.email, p.user_id::text) AS subject,
        format('Pays for the %s plan but has no API key that works.', p.tier) AS message,
        NULL AS value,
        p.subscribed_at AS detected_at,
        'user' AS object_type,
        p.user_id::text AS object_id
    FROM v_paid_users_without_keys AS p
    UNION ALL
    SELECT
        j.check_name,
        j.severity,
        j.job AS subject,
        j.message,
        NULL AS value,
        j.detected_at,
        'job' AS object_type,
        j.job AS object_id
    FROM (
        SELECT
            'overdue_jobs' AS check_name,
            CASE WHEN t.critical_at < 1 THEN 'critical' ELSE 'warning' END AS severity,
            h.job,
            format('Should have run by %s.', date_trunc('second', h.next_due_at)) AS message,
            h.next_due_at AS detected_at
        FROM job_health AS h
        INNER JOIN health_checks AS t ON t.check_name = 'overdue_jobs'
        WHERE h.is_overdue
        UNION ALL
        SELECT
            'failed_jobs' AS check_name,
            CASE WHEN t.critical_at < 1 THEN 'critical' ELSE 'warning' END AS severity,
            h.job,
            format('The last run failed: %s', coalesce(left(h.last_error, 500), 'no error noted')) AS message,
            h.last_run_at AS detected_at
        FROM job_health AS h
        INNER JOIN health_checks AS t ON t.check_name = 'failed_jobs'
        WHERE h.has_failed
    ) AS j
    UNION ALL
    -- The other checks, and how many jobs are overdue, are about the whole system.
    SELECT
        h.check_name,
        h.status AS severity,
        h.title AS subject,
        h.message,
        h.value,
        now() AS detected_at,
        'check' AS object_type,
        NULL AS object_id
    FROM judged_health AS h
    WHERE
        h.status IN ('critical', 'warning')
        AND h.check_name NOT IN (
            'stale_subscriptions', 'failed_webhooks', 'dead_webhooks', 'error_rate', 'users_near_limit',
            'duplicate_subscriptions', 'paid_users_without_keys', 'failed_jobs'
        )
        AND NOT (h.check_name = 'overdue_jobs' AND h.status = 'warning')
) AS a
INNER JOIN health_checks AS c ON a.check_name = c.check_name AND c.is_enabled;

-- The alerts that need somebody at once.
CREATE VIEW v_critical_alerts AS
SELECT
    a.fingerprint,
    a.severity,
    a.alert_type,
    a.subject,
    a.message,
    a.remediation,
    a.value,
    a.detected_at,
    a.object_type,
    a.object_id
FROM v_alerts AS a
WHERE a.severity = 'critical';

-- Every check with its value, its thresholds and what to do. A check that cannot be measured, or that this role may not
-- see, is unknown and never ok.
CREATE VIEW v_system_health AS
SELECT
    c.check_name,
    coalesce(j.status, 'unknown') AS status,
    j.value,
    c.warning_at,
    c.critical_at,
    j.message,
    c.remediation,
    c.title,
    c.unit,
    c.lower_is_worse
FROM health_checks AS c
LEFT JOIN judged_health AS j ON c.check_name = j.check_name
WHERE c.is_enabled;

DROP TRIGGER audit ON silences;

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION system_health;

DROP FUNCTION seen_alerts;

DROP FUNCTION rows_apart;

DROP FUNCTION plain_error;

DROP FUNCTION locked_tables;

DROP FUNCTION known_checks;

DROP FUNCTION error_cause;

DROP FUNCTION check_patience;

DROP TABLE unmeasured_checks;

DROP TABLE silences;

DROP TABLE measurements;

DROP TABLE disk_samples;

DROP TABLE alert_evaluations;

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
