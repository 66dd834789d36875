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
    'revenue_at_risk', 'Share of MRR whose invoices are overdue', '%', false, 5, 15,
    'Ask the customers on the page Payments at risk: press "Send payment link" or "Try now", or "Give until" for who '
    || 'asks for time.'
),
(
    'users_near_limit', 'Highest share of a monthly limit used', '%', false, 80, NULL,
    'Press "Grant extra quota", or offer the next plan, before requests are refused; it ends with either, or with the '
    || 'month.'
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
