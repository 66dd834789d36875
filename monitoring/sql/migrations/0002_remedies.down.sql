-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('v_database_sessions', 'v_index_findings', 'v_schema_differences', 'v_top_queries') AND a.grantee <> c.relowner;

DROP VIEW v_top_queries;
DROP VIEW v_schema_differences;
DROP VIEW v_index_findings;
DROP VIEW v_database_sessions;

UPDATE health_checks SET remediation = 'Sync the customer from Stripe; if Stripe says it ended, the event that said so was lost.' WHERE check_name = 'stale_subscriptions';
UPDATE health_checks SET remediation = 'Fix orphans gives each of them the free plan; then reconcile, in case Stripe has a paid one.' WHERE check_name = 'orphaned_stripe_customers';
UPDATE health_checks SET remediation = 'Ask the customer which one to keep and cancel the other at Stripe; they are charged for both.' WHERE check_name = 'duplicate_subscriptions';
UPDATE health_checks SET remediation = 'Link each to a customer by hand, or create one, then replay the events that wait.' WHERE check_name = 'unmatched_stripe_customers';
UPDATE health_checks SET remediation = 'Ask whether they need help to get started; who never calls the API cancels.' WHERE check_name = 'paid_users_without_keys';
UPDATE health_checks SET remediation = 'Offer the next plan before requests are refused.' WHERE check_name = 'users_near_limit';
UPDATE health_checks SET remediation = 'Read the last error, remove its cause, then retry the event.' WHERE check_name = 'failed_webhooks';
UPDATE health_checks SET remediation = 'Read the last error, remove its cause, then replay the event: nothing retries it by itself.' WHERE check_name = 'dead_webhooks';
UPDATE health_checks SET remediation = 'See whether the worker runs and what it does; run the webhooks job by hand.' WHERE check_name = 'webhook_delay';
UPDATE health_checks SET remediation = 'Look at the endpoint and status: broken client, broken release or an attack on keys.' WHERE check_name = 'error_rate';
UPDATE health_checks SET remediation = 'Run the partitions job; if it fails, its error says which lock or table is in the way.' WHERE check_name = 'partitions_ahead';
UPDATE health_checks SET remediation = 'Run the partitions job: it makes the missing month and moves the rows there.' WHERE check_name = 'default_partition_rows';
UPDATE health_checks SET remediation = 'Run the rollup job. Counts stay exact meanwhile, but reading them gets slower.' WHERE check_name = 'unfolded_usage';
UPDATE health_checks SET remediation = 'Run the rollup job, and end a transaction that has been writing usage for long.' WHERE check_name = 'unfolded_traffic';
UPDATE health_checks SET remediation = 'See whether the worker runs and is not stuck; restart it.' WHERE check_name = 'queue_age';
UPDATE health_checks SET remediation = 'Start or restart the worker (manage.py worker); events and jobs wait for it.' WHERE check_name = 'worker_silence';
UPDATE health_checks SET remediation = 'See whether the worker runs, then run the job by hand: manage.py run_job NAME.' WHERE check_name = 'overdue_jobs';
UPDATE health_checks SET remediation = 'Read the error of the run, remove its cause, then run the job again.' WHERE check_name = 'failed_jobs';
UPDATE health_checks SET remediation = 'Find who holds them on the connections page; restart a leaking service or put PgBouncer in front.' WHERE check_name = 'connections';
UPDATE health_checks SET remediation = 'End the blocking session: SELECT pg_terminate_backend(pid), the pid is in the message.' WHERE check_name = 'blocked_sessions';
UPDATE health_checks SET remediation = 'End the session and correct the program that forgot to commit; it holds back vacuum and locks.' WHERE check_name = 'idle_in_transaction';
UPDATE health_checks SET remediation = 'Look at the statement on the queries page; SELECT pg_cancel_backend(pid) stops it.' WHERE check_name = 'long_running_queries';
UPDATE health_checks SET remediation = 'Find what holds vacuum back (old transactions, replication slots, prepared transactions), then VACUUM FREEZE.' WHERE check_name = 'wraparound';
UPDATE health_checks SET remediation = 'Change the column and its sequence to bigint before inserts fail.' WHERE check_name = 'sequences';
UPDATE health_checks SET remediation = 'An index build was interrupted: REINDEX INDEX CONCURRENTLY, or drop it.' WHERE check_name = 'invalid_indexes';
UPDATE health_checks SET remediation = 'ALTER TABLE … ENABLE TRIGGER …; what was written meanwhile is neither counted nor audited.' WHERE check_name = 'disabled_triggers';
UPDATE health_checks SET remediation = 'Autovacuum does not keep up: end old transactions, then VACUUM ANALYZE the table.' WHERE check_name = 'dead_rows';
UPDATE health_checks SET remediation = 'See whether the replica runs and has capacity; an abandoned replication slot must be dropped.' WHERE check_name = 'replication_lag';
UPDATE health_checks SET remediation = 'Look whether somebody is locked out or guesses: authentication_failures names source and account or key prefix.' WHERE check_name = 'authentication_failures';
UPDATE health_checks SET remediation = 'Run manage.py database backup and read what it says; see whether the schedule runs it.' WHERE check_name = 'backup_age';
UPDATE health_checks SET remediation = 'Restore the latest backup into an empty database and compare the counts; a backup counts once it was restored.' WHERE check_name = 'restore_drill_age';
UPDATE health_checks SET remediation = 'Read the error, remove its cause (space, rights, client older than the server), then run it again.' WHERE check_name = 'failed_backups';
UPDATE health_checks SET remediation = 'manage.py database verify lists all: undo what was done by hand, migrate what is missing, then run the verify job.' WHERE check_name = 'drift';
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

-- Gone.

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION top_queries;

--!
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN SELECT k.statement FROM kept_rights AS k LOOP
        EXECUTE kept.statement;
    END LOOP;
END
$$;
