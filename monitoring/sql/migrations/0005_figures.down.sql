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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('failed_invoices', 'first_payments', 'monthly_mrr_movements', 'v_api_usage_trends', 'v_expiring_cards', 'v_mrr_retention', 'v_lifetime_value', 'v_payment_recovery', 'v_payments_at_risk', 'health_of_payments', 'v_renewals', 'v_forecast', 'v_retention', 'v_retention_customers', 'v_users_near_limit', 'alerts_of_limits', 'health_of_limits') AND a.grantee <> c.relowner;

DROP VIEW health_of_limits;
DROP VIEW alerts_of_limits;
DROP VIEW v_users_near_limit;
DROP VIEW v_retention_customers;
DROP VIEW v_retention;
DROP VIEW v_forecast;
DROP VIEW v_renewals;
DROP VIEW health_of_payments;
DROP VIEW v_payments_at_risk;
DROP VIEW v_payment_recovery;
DROP VIEW v_lifetime_value;
DROP VIEW v_mrr_retention;
DROP VIEW v_expiring_cards;
DROP VIEW v_api_usage_trends;
DROP VIEW monthly_mrr_movements;
DROP VIEW first_payments;
DROP VIEW failed_invoices;

DELETE FROM health_checks WHERE check_name = 'revenue_at_risk';
UPDATE health_checks SET remediation = 'Offer the next plan before requests are refused; it ends with the new plan, or with the month.' WHERE check_name = 'users_near_limit';
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
    ),
    CONSTRAINT health_checks_texts_bounded CHECK (
        octet_length(check_name) <= 63 AND octet_length(title) <= 800 AND octet_length(unit) <= 63
    ),
    -- Some are multiplied by a day, and PostgreSQL's intervals end.
    CONSTRAINT health_checks_below_a_billion CHECK (warning_at < 1000000000 AND critical_at < 1000000000),
    CONSTRAINT health_checks_times_plausible CHECK (
        updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00'
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
    'unclaimed_prices', 'Most customers of a price that no plan claims', 'customers', false, 0, NULL,
    'Press "Map price" on the page Plan prices and say which plan it sells: its customers keep theirs meanwhile, and '
    || 'new subscriptions to it wait.'
),
(
    'unmatched_stripe_customers', 'Customers at Stripe who belong to nobody here', 'customers', false, 0, NULL,
    'Press "Link to a customer" or "Create a customer" on the page Unmatched customers: the events that wait are '
    || 'then tried again by themselves.'
),
(
    'unrepaired_differences', 'Differences from Stripe that cannot be repaired', 'differences', false, 0, NULL,
    'Correct at Stripe, or here, what the note of each difference says, then press "Repair" on the page Differences.'
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
    'waiting_events', 'What events wait for', 'causes', false, 0, NULL,
    'Do what the message says: press "Map price" on the page Plan prices, or change one of two equal addresses. All '
    || 'events that wait for it are then tried again by themselves.'
),
(
    'webhook_delay', 'Longest wait of an event that is due', 'minutes', false, 5, 15,
    'See on the page Workers whether one is alive, and start it with manage.py worker; run manage.py run_job webhooks.'
),
(
    'unsettled_stripe_requests', 'Longest wait for what became of a request to Stripe', 'minutes', false, 60, NULL,
    'Press "Look at Stripe" on the page of the request: it says what keeps Stripe from telling. Remove that; until '
    || 'then nothing else is asked of the same charge, subscription or customer.'
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
    'request_id_conflicts', 'Request ids that came back with other requests', 'ids', false, 0, NULL,
    'Let the API server make ids of its own, a UUID each: api_usage_request_ids names customers and ids. It ends a day '
    || 'after the last.'
),
(
    'queue_age', 'Longest wait of a queued task', 'minutes', false, 5, 15,
    'See on the page Workers what each is busy with; start the worker anew: manage.py worker.'
),
(
    'worker_silence', 'Time since the worker gave a sign of life', 'minutes', false, 1, 2,
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
    'account_changes', 'Accounts and roles that became more powerful in a day', 'changes', false, 0, NULL,
    'See on the page Audit log who did it, and why; ask them. What nobody meant to do, undo on the pages of accounts '
    || 'and roles, and switch off the account that did it. It ends a day after the last change.'
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
),
(
    'unmeasured_checks', 'Checks that cannot be measured', 'minutes', false, 0, 15,
    'The message names what is locked, and by whom: press "End session" on the page Connections. What is missing is '
    || 'made again by what manage.py database verify --sql prints, in psql. Then run manage.py run_job alerts.'
),
(
    'role_connections', 'Highest share of a role''s connections used', '%', false, 80, 95,
    'Find who holds them on the page Connections; restart a leaking program, or raise the limit of the role.'
),
(
    'retained_wal', 'Most log kept for a replication slot', 'GB', false, 5, 20,
    'Start the replica that reads the slot; a slot that nobody needs goes in psql by SELECT '
    || 'pg_drop_replication_slot(name).'
),
(
    'failures_in_a_row', 'Most failures of a job in a row', 'failures', false, 2, 5,
    'Read the error on the page of the job and remove its cause; then run manage.py run_job NAME.'
),
(
    'switched_off_jobs', 'Jobs that are switched off', 'jobs', false, 0, NULL,
    'Press "Switch on" on the page of the job, or switch this check off where the job is not wanted.'
),
(
    'disk_used', 'Share of the fullest disk used', '%', false, 80, 90,
    'Make room on the disk that the message names, or make it larger; keep the newest good backup.'
),
(
    'disk_full_in', 'Time until a disk is full at its growth', 'days', true, 14, 3,
    'Make the disk larger, or stop what grows: backups by BACKUP_KEEP, logs by rotation, the log by its slots.'
),
(
    'alert_channels', 'Channels that alerts go to', 'channels', true, 1, NULL,
    'Set SLACK_WEBHOOK_URL or ALERT_EMAIL for web and worker, restart both, and send a test message.'
),
(
    'heartbeat_url', 'Failures in a row to ask HEARTBEAT_URL', 'failures', false, 0, NULL,
    'See whether the address is right and reachable from here: until then nobody outside notices a silence.'
),
(
    'stripe_mode', 'Stripe keys that do not fit the mode', 'keys', false, 0, 0,
    'Set STRIPE_LIVE_MODE to the mode of the key and of the webhook endpoint, then restart web and worker.'
),
(
    'other_mode_events', 'Events of the other mode in a day, and none of ours', 'events', false, 0, 0,
    'The endpoint at Stripe belongs to the other mode: set STRIPE_LIVE_MODE, the keys and STRIPE_WEBHOOK_SECRET alike.'
),
(
    'missing_rights', 'Rights that the application lacks', 'rights', false, 0, NULL,
    'Run manage.py database init --roles as a superuser, or grant what the message names.'
),
(
    'replica_away', 'Replicas that pages cannot read', 'replicas', false, 0, NULL,
    'Start the replica, or correct DATABASE_REPLICA_URL for web and worker and restart both.'
),
(
    'unwritable_folders', 'Folders that cannot be written to', 'folders', false, 0, NULL,
    'Mount the disk of the folder that the message names, or let the user of web and worker write there.'
),
(
    'clock_skew', 'Largest difference of a machine''s clock from the database''s', 'seconds', false, 5, 60,
    'Run timedatectl set-ntp true on the machine whose clock is wrong; manage.py doctor compares with Stripe''s, too.'
);
*/

-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, else a second.
CREATE OR REPLACE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(nullif(current_setting('app.check_patience_ms', true), '')::int, 1000)
$$;

-- What errors that differ in ids and numbers only have in common: their first line without quoted values, addresses,
-- Stripe's ids, uuids, hexadecimal and other numbers, moments among them.
CREATE OR REPLACE FUNCTION error_cause(error text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
    SELECT
        btrim(regexp_replace(
            regexp_replace(
                regexp_replace(
                    regexp_replace(
                        regexp_replace(
                            regexp_replace(
                                left(split_part(coalesce(error, ''), E'\n', 1), 500),
                                '(^|[\s(=:,])(''[^'']*''|"[^"]*"|`[^`]*`)', '\1…', 'g'
                            ),
                            '[^\s@<>(),;:]+@[^\s@<>(),;:]+', '…', 'g'
                        ),
                        '\m(evt|cus|sub|si|price|prod|plan|in|ii|il|ch|py|pi|pm|re|du|dp|txn|seti|acct|req|tok|src|card|we)_\w+',
                        '…', 'g'
                    ),
                    '\m[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\M', '…', 'g'
                ),
                '\m(0[xX][0-9a-fA-F]+|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,})\M', '…', 'g'
            ),
            '[-+]?[0-9]+([.,:/T-]?[0-9]+)*Z?|(\s|…)+(?=(\s|…))', '…', 'g'
        ))
$$;

-- Folds requests of api_usage into the traffic tables that the monitoring views read; returns how many, at most
-- `max_requests`. To be called every minute. Each request is folded exactly once, whenever it was made, as what counts
-- is its id and not its time; what is not folded yet, the views read from api_usage. A second caller waits. A request
-- that cannot be folded is named by a warning and left out of the traffic tables for good.
--
-- An id is handed out before its row is committed. So the goal is the last id together with the transactions that held
-- a writer's lock on api_usage when it was read: once those have ended, no row up to the goal can appear any more.
CREATE OR REPLACE FUNCTION fold_traffic(max_requests bigint DEFAULT 500000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
DECLARE
    progress traffic_progress;
    goal bigint;
    folded bigint := 0;
BEGIN
    IF max_requests IS NULL OR max_requests < 1 THEN
        RAISE EXCEPTION 'fold_traffic: max_requests must be at least 1, not %', coalesce(max_requests::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'fold_traffic: needs read committed, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state',
                  DETAIL = 'An older snapshot would miss requests that were committed since.';
    END IF;
    SELECT * INTO STRICT progress FROM traffic_progress FOR UPDATE;

    IF progress.seen_id = progress.folded_to THEN
        -- The id first: whoever took one up to it holds its lock by now, or has ended.
        progress.seen_id := greatest(
            progress.folded_to, (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM api_usage_id_seq AS s)
        );
        progress.seen_writers := coalesce((
            SELECT array_agg(DISTINCT l.virtualtransaction)
            FROM pg_locks AS l
            WHERE l.mode = 'RowExclusiveLock'
                AND l.locktype = 'relation'
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
                AND l.relation IN (SELECT t.relid::oid FROM pg_partition_tree('api_usage') AS t)
                AND l.pid IS DISTINCT FROM pg_backend_pid()
        ), '{}');
    END IF;

    IF progress.seen_id > progress.folded_to
        AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    THEN
        goal := least(progress.seen_id, progress.folded_to + max_requests);
        folded := fold_traffic_range(progress.folded_to, goal);
        progress.folded_to := goal;
        progress.folded_at := clock_timestamp();
        DELETE FROM traffic_hours WHERE hour < now() - interval '2 days';
        DELETE FROM traffic_latency_hours WHERE hour < now() - interval '15 days';
        DELETE FROM traffic_user_days WHERE day < (now() AT TIME ZONE 'UTC')::date - 95;
    END IF;

    UPDATE traffic_progress
    SET
        folded_to = progress.folded_to,
        folded_at = progress.folded_at,
        seen_id = progress.seen_id,
        seen_writers = progress.seen_writers;
    RETURN folded;
END
$$;

REVOKE EXECUTE ON FUNCTION fold_traffic(bigint) FROM public;

-- Every check: the view that measures it, the view that says on which objects it fails (without one the alert is about
-- the whole system), and the checks whose failing is its cause. The server's own come first: they read no table.
--
-- No table, as it has to be known which checks a locked table hides.
CREATE OR REPLACE FUNCTION known_checks()
RETURNS TABLE (place bigint, check_name text, measured_by text, alerts_by text, follows_from text[])
LANGUAGE sql
IMMUTABLE
SET search_path = public, pg_temp
AS $$
    SELECT row_number() OVER (), k.*
    FROM (
        VALUES
        ('blocked_sessions', 'health_of_postgres', NULL, '{}'::text[]),
        ('connections', 'health_of_postgres', NULL, '{}'),
        ('idle_in_transaction', 'health_of_postgres', NULL, '{}'),
        ('long_running_queries', 'health_of_postgres', NULL, '{}'),
        ('wraparound', 'health_of_postgres', NULL, '{}'),
        ('invalid_indexes', 'health_of_postgres', NULL, '{}'),
        ('disabled_triggers', 'health_of_postgres', NULL, '{}'),
        ('dead_rows', 'health_of_postgres', NULL, '{idle_in_transaction}'),
        ('replication_lag', 'health_of_postgres', NULL, '{}'),
        ('role_connections', 'health_of_postgres', NULL, '{connections}'),
        ('retained_wal', 'health_of_postgres', NULL, '{}'),
        ('sequences', 'health_of_sequences', NULL, '{}'),
        ('unmeasured_checks', 'health_of_measuring', NULL, '{blocked_sessions}'),
        ('worker_silence', 'health_of_worker', NULL, '{}'),
        ('queue_age', 'health_of_queue', NULL, '{worker_silence}'),
        ('overdue_jobs', 'health_of_jobs', 'alerts_of_jobs', '{worker_silence}'),
        ('failed_jobs', 'health_of_jobs', 'alerts_of_jobs', '{blocked_sessions, disk_used}'),
        ('failures_in_a_row', 'health_of_jobs', NULL, '{blocked_sessions, disk_used}'),
        ('switched_off_jobs', 'health_of_jobs', NULL, '{}'),
        ('failed_webhooks', 'health_of_events', 'alerts_of_events', '{blocked_sessions, disk_used}'),
        ('dead_webhooks', 'health_of_events', 'alerts_of_events', '{}'),
        ('waiting_events', 'health_of_events', 'alerts_of_waiting', '{}'),
        (
            'webhook_delay', 'health_of_events', NULL,
            '{worker_silence, overdue_jobs, switched_off_jobs, blocked_sessions}'
        ),
        (
            'unsettled_stripe_requests', 'health_of_stripe_requests', NULL,
            '{worker_silence, overdue_jobs, switched_off_jobs}'
        ),
        ('stale_subscriptions', 'health_of_subscriptions', 'alerts_of_subscriptions', '{}'),
        ('duplicate_subscriptions', 'health_of_subscriptions', 'alerts_of_subscriptions', '{}'),
        ('unclaimed_prices', 'health_of_subscriptions', 'alerts_of_subscriptions', '{}'),
        ('orphaned_stripe_customers', 'health_of_customers', NULL, '{}'),
        ('unmatched_stripe_customers', 'health_of_customers', 'alerts_of_waiting', '{}'),
        ('unrepaired_differences', 'health_of_reconciliation', NULL, '{}'),
        ('paid_users_without_keys', 'health_of_customers', 'alerts_of_customers', '{}'),
        ('users_near_limit', 'health_of_limits', 'alerts_of_limits', '{}'),
        ('error_rate', 'health_of_errors', 'alerts_of_errors', '{}'),
        ('partitions_ahead', 'health_of_partitions', NULL, '{}'),
        ('default_partition_rows', 'health_of_strays', NULL, '{}'),
        (
            'unfolded_usage', 'health_of_requests', NULL,
            '{worker_silence, overdue_jobs, switched_off_jobs, blocked_sessions}'
        ),
        (
            'unfolded_traffic', 'health_of_requests', NULL,
            '{worker_silence, overdue_jobs, switched_off_jobs, blocked_sessions}'
        ),
        ('request_id_conflicts', 'health_of_request_ids', NULL, '{}'),
        ('backup_age', 'health_of_backups', NULL, '{worker_silence, switched_off_jobs, failed_backups}'),
        ('restore_drill_age', 'health_of_backups', NULL, '{worker_silence, switched_off_jobs, failed_backups}'),
        ('failed_backups', 'health_of_backups', NULL, '{disk_used}'),
        ('drift', 'health_of_schema', NULL, '{}'),
        ('authentication_failures', 'health_of_security', NULL, '{}'),
        ('account_changes', 'health_of_security', NULL, '{}'),
        ('disk_used', 'health_of_disks', NULL, '{}'),
        ('disk_full_in', 'health_of_disks', NULL, '{disk_used}'),
        ('alert_channels', 'health_of_machines', NULL, '{}'),
        ('heartbeat_url', 'health_of_machines', NULL, '{}'),
        ('stripe_mode', 'health_of_machines', NULL, '{}'),
        ('other_mode_events', 'health_of_machines', NULL, '{stripe_mode}'),
        ('missing_rights', 'health_of_machines', NULL, '{}'),
        ('replica_away', 'health_of_machines', NULL, '{}'),
        ('unwritable_folders', 'health_of_machines', NULL, '{}'),
        ('clock_skew', 'health_of_clocks', NULL, '{}')
    ) AS k (check_name, measured_by, alerts_by, follows_from)
$$;

-- A schedule names one of the functions that the queue runs, and no other to be called with the result. A row that does
-- not is refused, as one that django-q2 cannot read stops every schedule. The worker has the same list.
CREATE OR REPLACE FUNCTION refuse_unknown_task() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    known constant text[] := ARRAY[
        'billing.tasks.advance_replay', 'billing.tasks.process_event', 'billing.tasks.resync_customer',
        'billing.tasks.send_leak_notice', 'monitoring.jobs.runner.run_now', 'monitoring.jobs.runner.run_slot'
    ];
BEGIN
    IF NEW.func OPERATOR(pg_catalog.<>) ALL (known) OR NEW.hook IS NOT NULL THEN
        RAISE EXCEPTION 'django_q_schedule: func % with hook % is not what the queue runs',
            quote_nullable(NEW.func), quote_nullable(NEW.hook)
            USING ERRCODE = 'check_violation', HINT = format('func is one of %s; hook is NULL.', array_to_string(known, ', '));
    END IF;
    RETURN NEW;
END
$$;

-- The rows of a view as a JSON array, or the problem in words where it cannot be read within so many milliseconds of
-- waiting for a lock. Whatever is wrong with the view or with what it reads, the caller goes on.
CREATE OR REPLACE FUNCTION rows_apart(view_name text, patience_ms int, OUT rows jsonb, OUT problem text)
RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET lock_timeout = '1s'
AS $$
BEGIN
    PERFORM set_config('lock_timeout', format('%sms', greatest(patience_ms, 1)), true);
    EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %I AS r', view_name) INTO rows;
EXCEPTION
    WHEN lock_not_available THEN
        problem := coalesce(
            (
                SELECT format('%s.', string_agg(format('table %s is locked by process %s', l.relname, l.pid), ', '))
                FROM locked_tables() AS l
            ),
            'A lock was not given in time.'
        );
    WHEN query_canceled THEN
        -- By statement_timeout it is about this view. Whoever else cancels means the whole statement.
        IF current_setting('statement_timeout') = '0' OR clock_timestamp()
            < statement_timestamp() + current_setting('statement_timeout')::interval THEN
            RAISE;
        END IF;
        problem := 'It takes longer than a statement may.';
    WHEN insufficient_privilege THEN
        problem := format('The role %s may not read it.', current_user);
    WHEN undefined_table OR undefined_column OR undefined_function THEN
        problem := format('Something that it reads is missing: %s.', SQLERRM);
    WHEN OTHERS THEN
        problem := format('It fails: %s.', SQLERRM);
END
$$;

-- The last 30 days (UTC), today included, with a row also for a day without requests, whose shares are NULL. Exact:
-- folded days plus what is not folded yet; a user who appears in both is counted once.
CREATE VIEW v_api_usage_trends AS
WITH unfolded AS (
    SELECT
        (u.created_at AT TIME ZONE 'UTC')::date AS day,
        u.user_id,
        count(*) AS requests,
        count(*) FILTER (WHERE u.status_code >= 400) AS failed_requests,
        sum(u.response_time_ms) AS total_response_time_ms
    FROM api_usage AS u
    WHERE
        u.id > (SELECT p.folded_to FROM traffic_progress AS p)
        -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
        AND u.id <= 9223372036854775807
        AND u.created_at >= (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '29 days') AT TIME ZONE 'UTC'
    GROUP BY (u.created_at AT TIME ZONE 'UTC')::date, u.user_id
),

counted AS (
    SELECT
        d.day,
        d.requests,
        d.failed_requests,
        d.total_response_time_ms,
        d.active_users
    FROM traffic_days AS d
    WHERE d.day >= (now() AT TIME ZONE 'UTC')::date - 29
    UNION ALL
    SELECT
        unfolded.day,
        sum(unfolded.requests) AS requests,
        sum(unfolded.failed_requests) AS failed_requests,
        sum(unfolded.total_response_time_ms) AS total_response_time_ms,
        count(*) FILTER (WHERE known.user_id IS NULL) AS active_users
    FROM unfolded
    LEFT JOIN traffic_user_days AS known ON unfolded.day = known.day AND unfolded.user_id = known.user_id
    GROUP BY unfolded.day
),

calendar AS (
    SELECT generate_series(
        date_trunc('day', now() AT TIME ZONE 'UTC') - interval '29 days',
        date_trunc('day', now() AT TIME ZONE 'UTC'),
        interval '1 day'
    )::date AS day
)

SELECT
    calendar.day,
    coalesce(sum(counted.requests), 0)::bigint AS requests,
    coalesce(sum(counted.failed_requests), 0)::bigint AS failed_requests,
    round(100.0 * sum(counted.failed_requests) / sum(counted.requests), 2) AS error_percent,
    round(sum(counted.total_response_time_ms) / sum(counted.requests), 1) AS avg_ms,
    coalesce(sum(counted.active_users), 0)::bigint AS active_users
FROM calendar
LEFT JOIN counted ON calendar.day = counted.day
GROUP BY calendar.day
ORDER BY calendar.day;

-- Customers who used 80 % or more of this calendar month's limit (UTC), by exact usage: what is folded plus what is
-- queued. The plan is the one whose limit holds. A limit of zero is used up by the first request. Unlimited plans are
-- never near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued requests is looked at as well.
CREATE VIEW v_users_near_limit AS
WITH least AS MATERIALIZED (
    SELECT
        greatest(
            ceil(
                0.8 * least(
                    min(s.monthly_request_limit),
                    -- Of those whose subscription entitles to nothing else.
                    (
                        SELECT p.monthly_request_limit
                        FROM plans AS p
                        WHERE p.tier = 'free'
                    )
                )
            ), 1
        )::bigint AS requests
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
    e.user_id,
    u.email,
    e.tier,
    usage.requests AS usage_count,
    e.monthly_request_limit,
    CASE
        WHEN e.monthly_request_limit = 0 THEN 100.00
        ELSE round(100.0 * usage.requests / e.monthly_request_limit, 2)
    END AS percent_used
FROM usage
INNER JOIN entitlements AS e ON usage.user_id = e.user_id
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = e.user_id AND c.status <> 'deleted'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE usage.requests >= (SELECT least.requests FROM least) AND usage.requests >= 0.8 * e.monthly_request_limit;

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

DROP FUNCTION usage_forecasts;

DROP FUNCTION forecast_requests;

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
