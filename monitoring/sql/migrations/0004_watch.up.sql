-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/health_checks
UPDATE health_checks SET remediation = 'Correct at Stripe, or here, what the note of each difference says, then press "Repair" on the page Differences.' WHERE check_name = 'unrepaired_differences';
UPDATE health_checks SET remediation = 'Let the API server make ids of its own, a UUID each: api_usage_request_ids names customers and ids. It ends a day ' || 'after the last.' WHERE check_name = 'request_id_conflicts';
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('account_changes', 'Accounts and roles that became more powerful in a day', 'changes', false, 0, NULL, 'See on the page Audit log who did it, and why; ask them. What nobody meant to do, undo on the pages of accounts ' || 'and roles, and switch off the account that did it. It ends a day after the last change.');
UPDATE health_checks SET remediation = 'Press "Switch on" on the page of the job, or switch this check off where the job is not wanted.' WHERE check_name = 'switched_off_jobs';
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('unwritable_folders', 'Folders that cannot be written to', 'folders', false, 0, NULL, 'Mount the disk of the folder that the message names, or let the user of web and worker write there.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('clock_skew', 'Largest difference of a machine''s clock from the database''s', 'seconds', false, 5, 60, 'Run timedatectl set-ntp true on the machine whose clock is wrong; manage.py doctor compares with Stripe''s, too.');
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

--! functions/fold_traffic_range
-- As fold_traffic_between(), but a request that cannot be folded keeps no other one: each half is folded on its own,
-- down to that request, which is named by a warning and never folded.
CREATE OR REPLACE FUNCTION fold_traffic_range(after_id bigint, to_id bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
DECLARE
    middle CONSTANT bigint := after_id + (to_id - after_id) / 2;
BEGIN
    RETURN fold_traffic_between(after_id, to_id);
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
    IF to_id = after_id + 1 THEN
        PERFORM leave_out(format('fold_traffic: left out request %s: %s', to_id, SQLERRM));
        RETURN 0;
    END IF;
    RETURN fold_traffic_range(after_id, middle) + fold_traffic_range(middle, to_id);
END
$$;

REVOKE EXECUTE ON FUNCTION fold_traffic_range(bigint, bigint) FROM public;

--! functions/known_checks
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

--! functions/plain_error
-- An error in words for people: what a library says of itself stays in the log and on the page of the event. A sentence
-- of its own it finds again behind the name of a step.
CREATE OR REPLACE FUNCTION plain_error(error text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
    SELECT
        CASE
            WHEN said.line = '' THEN 'no error noted'
            -- Its text is for the programmer.
            WHEN
                error ~ '^(Assertion|Attribute|Index|Key|Lookup|Name|NotImplemented|Recursion|Type|UnboundLocal|ZeroDivision)Error\M'
                OR error ~ '^((Memory|Unicode\w*|Decimal\w*|JSONDecode|Validation)Error|DoesNotExist)\M'
                THEN 'An error of the program, ' || substring(error FROM '^\w+') || ': the log has its text.'
            WHEN said.line ~ 'An error of the program' THEN substring(said.line FROM 'An error of the program[^;]*')
            WHEN said.line ~* 'lock timeout|locknotavailable|table stayed locked'
                THEN 'A table stayed locked for longer than it may take.'
            WHEN said.line ~* 'statement timeout|querycanceled|statement took longer'
                THEN 'A statement took longer than it may.'
            WHEN said.line ~* 'deadlock|transactions waited for each other'
                THEN 'Two transactions waited for each other, and one was ended.'
            WHEN said.line ~* 'no space left|disk ?full|disk is full|could not extend' THEN 'The disk is full.'
            WHEN said.line ~* 'too many (clients|connections)|connection slots|no free connection|couldn''t get a connection'
                THEN 'The database has no free connection.'
            WHEN
                said.line ~* 'connection to server|connection (is|was|already) (closed|lost)|closed the connection'
                OR said.line ~* 'terminating connection|adminshutdown|consuming input failed|connection is lost'
                OR said.line ~* 'database could not be reached'
                THEN 'The database could not be reached.'
            WHEN said.line ~* '\mssl|certificate|secure connection' THEN 'No secure connection could be made.'
            WHEN said.line ~* 'timed out|timeouterror|(read|connect)timeout|did not answer in time'
                THEN 'The other side did not answer in time.'
            WHEN said.line ~* 'connectionpool|urlopen|urllib3|max retries|connection refused|connectionerror|\merrno\M'
                OR said.line ~* 'other side could not be reached'
                THEN 'The other side could not be reached.'
            WHEN said.line ~* 'psycopg|django\.|traceback|requests\.exceptions|\mstripe\._'
                THEN 'An error of the program: the log has its text.'
            ELSE said.line
        END
    FROM (
        SELECT
            left(
                btrim(regexp_replace(
                    split_part(btrim(coalesce(error, '')), E'\n', 1),
                    '^([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Violation|Interrupt|Failed|Refused|Denied|Timeout): *', ''
                )),
                300
            ) AS line
    ) AS said
$$;

--! functions/reconcile_mrr
-- Books whatever the triggers did not see (they can be disabled, a restore can skip them); the number of movements. A
-- customer who cannot be booked is named by a warning and left out.
CREATE OR REPLACE FUNCTION reconcile_mrr() RETURNS int
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    drifted record;
    booked int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reconcile_mrr', 0));
    FOR drifted IN
        WITH booked AS (
            SELECT DISTINCT ON (m.user_id) m.user_id, m.subscription_id, m.after_cents, m.tier_after, m.currency
            FROM mrr_movements AS m
            ORDER BY m.user_id, m.id DESC
        )
        SELECT coalesce(p.user_id, b.user_id) AS user_id, coalesce(p.subscription_id, b.subscription_id) AS subscription_id
        FROM paying_subscriptions AS p FULL JOIN (SELECT * FROM booked WHERE after_cents > 0) AS b USING (user_id)
        WHERE (p.mrr_cents, p.tier, p.currency) IS DISTINCT FROM (b.after_cents, b.tier_after, b.currency)
        ORDER BY user_id
    LOOP
        BEGIN
            PERFORM book_mrr_difference(drifted.user_id, drifted.subscription_id, 'reconciled');
            booked := booked + 1;
        EXCEPTION
            WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
                PERFORM leave_out(format('reconcile_mrr: left out customer %s: %s', drifted.user_id, SQLERRM));
        END;
    END LOOP;
    RETURN booked;
END
$$;

--! functions/refresh_daily_mrr
-- Recomputes the days from `since` (UTC) to today from the ledger; the number of rows. Earlier gaps are filled too. A
-- plan's book that comes to less than nothing, as the ledger has a wrong row, is named by a warning and left out.
CREATE OR REPLACE FUNCTION refresh_daily_mrr(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET datestyle = 'ISO'
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    first_day date;
    written bigint;
    wrong text[];
BEGIN
    IF since IS NULL OR since > today THEN
        RAISE EXCEPTION 'refresh_daily_mrr: since must be a day up to today, not %', coalesce(since::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('refresh_daily_mrr', 0));
    first_day := coalesce(
        (SELECT max(d.day) + 1 FROM daily_mrr AS d WHERE d.day < since),
        (SELECT min(m.occurred_at AT TIME ZONE 'UTC')::date FROM mrr_movements AS m),
        since
    );
    first_day := least(first_day, since);
    DELETE FROM daily_mrr AS d WHERE d.day >= first_day;

    WITH movements AS (
        SELECT m.*, (m.occurred_at AT TIME ZONE 'UTC')::date AS day
        FROM mrr_movements AS m
        WHERE m.occurred_at >= first_day::timestamp AT TIME ZONE 'UTC'
    ),
    legs AS (
        SELECT
            m.day, m.currency, coalesce(m.tier_after, m.tier_before) AS tier, m.kind, m.amount_cents,
            CASE WHEN m.before_cents = 0 THEN 1 WHEN m.after_cents = 0 THEN -1 ELSE 0 END AS customers
        FROM movements AS m
        UNION ALL
        SELECT m.day, m.currency, side.tier, 'transfer', side.sign * m.before_cents, side.sign
        FROM movements AS m
        CROSS JOIN LATERAL (VALUES (m.tier_before, -1), (m.tier_after, 1)) AS side (tier, sign)
        WHERE m.tier_before <> m.tier_after
    ),
    days AS (
        SELECT
            l.day, l.currency, l.tier,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'new'), 0) AS new_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'expansion'), 0) AS expansion_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'contraction'), 0) AS contraction_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'churn'), 0) AS churn_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'reactivation'), 0) AS reactivation_cents,
            coalesce(sum(l.amount_cents) FILTER (WHERE l.kind = 'transfer'), 0) AS transfer_cents,
            sum(l.amount_cents)::bigint AS net_cents,
            sum(l.customers) AS customers
        FROM legs AS l
        GROUP BY l.day, l.currency, l.tier
    ),
    opening AS (
        SELECT d.currency, d.tier, d.end_cents, d.customers FROM daily_mrr AS d WHERE d.day = first_day - 1
    ),
    books AS (
        SELECT o.currency, o.tier FROM opening AS o UNION SELECT d.currency, d.tier FROM days AS d
    ),
    closing AS (
        SELECT
            g.day::date AS day, b.currency, b.tier,
            coalesce(d.new_cents, 0) AS new_cents, coalesce(d.expansion_cents, 0) AS expansion_cents,
            coalesce(d.contraction_cents, 0) AS contraction_cents, coalesce(d.churn_cents, 0) AS churn_cents,
            coalesce(d.reactivation_cents, 0) AS reactivation_cents, coalesce(d.transfer_cents, 0) AS transfer_cents,
            coalesce(d.net_cents, 0) AS net_cents,
            coalesce(o.end_cents, 0) + (sum(coalesce(d.net_cents, 0)) OVER book)::bigint AS end_cents,
            coalesce(o.customers, 0) + (sum(coalesce(d.customers, 0)) OVER book)::bigint AS customers
        FROM books AS b
        CROSS JOIN generate_series(first_day::timestamp, today::timestamp, interval '1 day') AS g (day)
        LEFT JOIN days AS d ON d.day = g.day::date AND d.currency = b.currency AND d.tier = b.tier
        LEFT JOIN opening AS o ON o.currency = b.currency AND o.tier = b.tier
        WINDOW book AS (PARTITION BY b.currency, b.tier ORDER BY g.day)
    ),
    wrong_books AS (
        SELECT c.currency, c.tier, min(c.day) AS day
        FROM closing AS c
        WHERE c.end_cents < 0 OR c.customers < 0
        GROUP BY c.currency, c.tier
    ),
    kept AS (
        INSERT INTO daily_mrr (
            day, currency, tier, start_cents, new_cents, expansion_cents, contraction_cents, churn_cents,
            reactivation_cents, transfer_cents, end_cents, customers
        )
        SELECT
            c.day, c.currency, c.tier, c.end_cents - c.net_cents, c.new_cents, c.expansion_cents, c.contraction_cents,
            c.churn_cents, c.reactivation_cents, c.transfer_cents, c.end_cents, c.customers
        FROM closing AS c
        WHERE NOT EXISTS (SELECT FROM wrong_books AS w WHERE w.currency = c.currency AND w.tier = c.tier)
        RETURNING 1
    )
    SELECT
        (SELECT count(*) FROM kept),
        ARRAY(SELECT format('the %s book in %s from %s', w.tier, w.currency, w.day) FROM wrong_books AS w ORDER BY 1)
    INTO written, wrong;
    FOR n IN 1..cardinality(wrong) LOOP
        PERFORM leave_out(format('refresh_daily_mrr: left out %s: the ledger comes to less than nothing', wrong[n]));
    END LOOP;
    RETURN written;
END
$$;

--! views/alerts_of_jobs
-- The jobs that are overdue, together, as who should have run them is their cause; and those whose last run failed, by
-- what their errors have in common. One alone is named; of several the value is how many they are.
CREATE OR REPLACE VIEW alerts_of_jobs AS
SELECT
    g.check_name,
    g.cause,
    CASE WHEN g.jobs > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    CASE
        WHEN g.jobs = 1 THEN g.names
        WHEN g.check_name = 'overdue_jobs' THEN format('%s jobs are past their time', g.jobs)
        ELSE format('%s jobs fail for one cause', g.jobs)
    END AS subject,
    CASE
        WHEN g.check_name = 'failed_jobs'
            THEN
                format(
                    'The last run%s failed: %s', ' of each of ' || nullif(g.names, g.objects[1]), plain_error(g.error)
                )
        WHEN g.jobs = 1 THEN format('Should have run by %s.', date_trunc('second', g.since))
        ELSE format('Overdue: %s, the first since %s.', g.names, date_trunc('second', g.since))
    END AS message,
    g.jobs::numeric AS value,
    g.since AS detected_at,
    CASE g.jobs WHEN 1 THEN 'job' ELSE 'check' END AS object_type,
    CASE g.jobs WHEN 1 THEN g.names END AS object_id,
    g.objects
FROM (
    SELECT
        'overdue_jobs' AS check_name,
        NULL AS cause,
        count(*) AS jobs,
        string_agg(h.job, ', ' ORDER BY h.job) AS names,
        array_agg(h.job ORDER BY h.job) AS objects,
        min(h.next_due_at) AS since,
        NULL AS error
    FROM job_health AS h
    WHERE h.is_overdue
    HAVING count(*) > 0
    UNION ALL
    SELECT
        'failed_jobs' AS check_name,
        left(md5(error_cause(plain_error(h.last_error))), 12) AS cause,
        count(*) AS jobs,
        string_agg(h.job, ', ' ORDER BY h.job) AS names,
        array_agg(h.job ORDER BY h.job) AS objects,
        min(h.last_run_at) AS since,
        min(h.last_error) AS error
    FROM job_health AS h
    WHERE h.has_failed
    GROUP BY error_cause(plain_error(h.last_error))
) AS g
INNER JOIN health_checks AS t ON g.check_name = t.check_name
WHERE g.jobs > least(t.warning_at, t.critical_at);

--! views/health_of_clocks
-- The check on the clocks of the machines where a web or worker process has compared its own within the last hour.
CREATE VIEW health_of_clocks AS
SELECT
    'clock_skew' AS check_name,
    max(m.value) AS value,
    coalesce(
        string_agg(m.message, ' ' ORDER BY m.value DESC, m.host ASC),
        'Not compared within the last hour: an evaluation of the alerts does so.'
    ) AS message
FROM measurements AS m
WHERE m.check_name = 'clock_skew' AND m.measured_at > now() - interval '1 hour';

--! views/health_of_security
-- Checks on attempts to get in, the source that failed most within the last hour, and on what makes an account or a
-- role more powerful or easier to take, within the last day; what a release does to the roles is left out.
CREATE OR REPLACE VIEW health_of_security AS
SELECT
    'authentication_failures' AS check_name,
    coalesce(max(f.failures), 0)::numeric AS value,
    coalesce(
        'Most: ' || string_agg(
            format('%s from %s (%s)', f.failures, f.source, replace(f.kind, '_', ' ')), ', '
            ORDER BY f.failures DESC, f.source ASC
        ) || '.',
        'Nobody failed to prove an identity in the last hour.'
    ) AS message
FROM (
    SELECT
        a.kind,
        a.source,
        sum(a.failures) AS failures
    FROM authentication_failures AS a
    WHERE a.window_start > now() - interval '1 hour'
    GROUP BY a.kind, a.source
    ORDER BY failures DESC, a.source ASC
    LIMIT 3
) AS f
UNION ALL
SELECT
    'account_changes' AS check_name,
    count(*)::numeric AS value,
    coalesce(
        (array_agg(c.told ORDER BY c.id DESC))[1]
        || CASE WHEN count(*) > 1 THEN format(', and %s more', count(*) - 1) ELSE '' END || '.',
        'In the last day no superuser was made, no role widened, no second factor removed.'
    ) AS message
FROM (
    SELECT
        a.id,
        CASE a.table_name
            WHEN 'auth_user'
                THEN
                    format(
                        '%s (%s) made %s a superuser', a.actor, a.actor_kind,
                        coalesce(a.new_values ->> 'username', u.username, 'account ' || a.row_id)
                    )
            WHEN 'mfa_authenticator'
                THEN
                    format(
                        '%s (%s) removed a second factor of %s', a.actor, a.actor_kind,
                        coalesce(o.username, 'account ' || (a.old_values ->> 'user_id'))
                    )
            ELSE
                format(
                    '%s (%s) gave %s the permission %s', a.actor, a.actor_kind,
                    coalesce(a.new_values ->> 'group', a.new_values ->> 'user'), a.new_values ->> 'permission'
                )
        END AS told
    FROM audit_log AS a
    LEFT JOIN auth_user AS u ON a.table_name = 'auth_user' AND a.row_id = u.id::text
    LEFT JOIN auth_user AS o ON a.table_name = 'mfa_authenticator' AND a.old_values ->> 'user_id' = o.id::text
    WHERE
        a.occurred_at > now() - interval '1 day'
        AND a.table_name IN (
            'auth_user', 'auth_group_permissions', 'auth_user_user_permissions', 'mfa_authenticator'
        )
        AND CASE a.table_name
            WHEN 'auth_user' THEN a.new_values @> '{"is_superuser": true}'
            WHEN 'mfa_authenticator' THEN a.action = 'delete'
            ELSE a.action = 'insert' AND NOT (a.actor = 'migrate' AND a.actor_kind = 'system')
        END
) AS c;
