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
    'worker_silence', 'Time since the worker gave a sign of life', 'minutes', false, 1, 2,
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
),
(
    'unmeasured_checks', 'Checks that cannot be measured', 'minutes', false, 0, 15,
    'The message names what is locked or missing: end the session that holds the lock, or run database verify.'
),
(
    'role_connections', 'Highest share of a role''s connections used', '%', false, 80, 95,
    'Find who holds them on the connections page; restart a leaking program, or raise the limit of the role.'
),
(
    'retained_wal', 'Most log kept for a replication slot', 'GB', false, 5, 20,
    'Start the replica that reads the slot, or drop a slot that nobody needs: SELECT pg_drop_replication_slot(name).'
),
(
    'failures_in_a_row', 'Most failures of a job in a row', 'failures', false, 2, 5,
    'Read the error on the page of the job, remove its cause, then run the job again.'
),
(
    'switched_off_jobs', 'Jobs that are switched off', 'jobs', false, 0, NULL,
    'Switch the job on again on its page, or switch this check off where the job is not wanted.'
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
);
