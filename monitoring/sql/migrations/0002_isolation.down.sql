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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('alerts_of_customers', 'alerts_of_errors', 'alerts_of_jobs', 'alerts_of_limits', 'alerts_of_subscriptions', 'current_silences', 'enabled_checks', 'health_of_customers', 'health_of_disks', 'health_of_errors', 'health_of_jobs', 'health_of_limits', 'health_of_machines', 'health_of_measuring', 'health_of_partitions', 'health_of_postgres', 'health_of_queue', 'health_of_reconciliation', 'health_of_request_ids', 'health_of_requests', 'health_of_sequences', 'health_of_subscriptions', 'health_of_worker', 'stray_months', 'health_of_strays', 'v_alerts', 'v_critical_alerts', 'v_database_sessions', 'v_failed_webhook_events', 'alerts_of_events', 'health_of_events', 'v_index_findings', 'v_repeated_failures', 'v_schema_differences', 'v_slow_endpoints', 'v_system_health', 'v_top_queries') AND a.grantee <> c.relowner;

DROP VIEW v_top_queries;
DROP VIEW v_system_health;
DROP VIEW v_slow_endpoints;
DROP VIEW v_schema_differences;
DROP VIEW v_repeated_failures;
DROP VIEW v_index_findings;
DROP VIEW health_of_events;
DROP VIEW alerts_of_events;
DROP VIEW v_failed_webhook_events;
DROP VIEW v_database_sessions;
DROP VIEW v_critical_alerts;
DROP VIEW v_alerts;
DROP VIEW health_of_strays;
DROP VIEW stray_months;
DROP VIEW health_of_worker;
DROP VIEW health_of_subscriptions;
DROP VIEW health_of_sequences;
DROP VIEW health_of_requests;
DROP VIEW health_of_request_ids;
DROP VIEW health_of_reconciliation;
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

ALTER TABLE alerts DROP CONSTRAINT alerts_texts_bounded;
ALTER TABLE alerts DROP CONSTRAINT alerts_value_possible;
ALTER TABLE alerts DROP CONSTRAINT alerts_times_plausible;
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

ALTER TABLE health_checks DROP CONSTRAINT health_checks_texts_bounded;
ALTER TABLE health_checks DROP CONSTRAINT health_checks_below_a_billion;
ALTER TABLE health_checks DROP CONSTRAINT health_checks_times_plausible;
DELETE FROM health_checks WHERE check_name = 'unrepaired_differences';
DELETE FROM health_checks WHERE check_name = 'request_id_conflicts';
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
UPDATE health_checks SET warning_at = 2, critical_at = 5, remediation = 'Start or restart the worker (manage.py worker); events and jobs wait for it.' WHERE check_name = 'worker_silence';
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

ALTER TABLE job_runs DROP CONSTRAINT job_runs_texts_bounded;
ALTER TABLE job_runs DROP CONSTRAINT job_runs_times_plausible;
/* The table is now:
-- What every run of a maintenance job did. A row is also the job's lock: one running row per job, one row per slot, so
-- that any number of schedulers on any number of machines run a slot once and never overlap.
CREATE TABLE job_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job text NOT NULL,
    scheduled_for timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    rows_affected bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    error text,
    "trigger" text NOT NULL DEFAULT 'manual',
    -- The running process extends this; when it passes, the process is dead and the run failed.
    lease_until timestamptz NOT NULL DEFAULT clock_timestamp() + interval '20 minutes',
    attempts int NOT NULL DEFAULT 1,
    worker text,
    CONSTRAINT job_runs_slot UNIQUE (job, scheduled_for),
    CONSTRAINT job_runs_job_given CHECK (job <> ''),
    CONSTRAINT job_runs_status_known CHECK (status IN ('running', 'succeeded', 'failed', 'skipped')),
    CONSTRAINT job_runs_detail_object CHECK (jsonb_typeof(detail) = 'object'),
    CONSTRAINT job_runs_attempts_positive CHECK (attempts > 0)
);

CREATE UNIQUE INDEX job_runs_one_running ON job_runs (job) WHERE status = 'running';
CREATE INDEX job_runs_started_at ON job_runs (started_at DESC);
CREATE INDEX job_runs_job ON job_runs (job, started_at DESC) INCLUDE (status, finished_at);

-- The back office's sorts and filters.
CREATE INDEX job_runs_status ON job_runs (status, started_at DESC);
*/

ALTER TABLE job_schedules DROP CONSTRAINT job_schedules_job_plain;
ALTER TABLE job_schedules DROP CONSTRAINT job_schedules_texts_bounded;
ALTER TABLE job_schedules DROP CONSTRAINT job_schedules_times_plausible;
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

ALTER TABLE mrr_movements DROP CONSTRAINT mrr_movements_currency_iso;
ALTER TABLE mrr_movements DROP CONSTRAINT mrr_movements_texts_bounded;
ALTER TABLE mrr_movements DROP CONSTRAINT mrr_movements_amounts_possible;
ALTER TABLE mrr_movements DROP CONSTRAINT mrr_movements_times_plausible;
/* The table is now:
-- The ledger of recurring revenue: every change of what a customer pays a month, and the subscription that caused it.
-- No foreign keys: the books outlive a deleted customer.
CREATE TABLE mrr_movements (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT mrr_movements_pkey PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    user_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    audit_id bigint,
    kind text NOT NULL,
    currency text NOT NULL,
    amount_cents bigint NOT NULL,
    before_cents bigint NOT NULL,
    after_cents bigint NOT NULL,
    tier_before text,
    tier_after text,
    origin text NOT NULL DEFAULT 'change',
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT mrr_movements_adds_up CHECK (amount_cents = after_cents - before_cents),
    CONSTRAINT mrr_movements_origin_known CHECK (origin IN ('change', 'history', 'reconciled')),
    CONSTRAINT mrr_movements_kind_fits CHECK (
        CASE kind
            WHEN 'new' THEN before_cents = 0 AND after_cents > 0
            WHEN 'reactivation' THEN before_cents = 0 AND after_cents > 0
            WHEN 'expansion' THEN before_cents > 0 AND amount_cents >= 0
            WHEN 'contraction' THEN after_cents > 0 AND amount_cents < 0
            WHEN 'churn' THEN before_cents > 0 AND after_cents = 0
            ELSE false
        END
    ),
    CONSTRAINT mrr_movements_tier_while_paying CHECK (
        (tier_before IS NOT NULL) = (before_cents > 0) AND (tier_after IS NOT NULL) = (after_cents > 0)
    )
);

CREATE INDEX mrr_movements_user_id ON mrr_movements (user_id, id DESC);
CREATE INDEX mrr_movements_occurred_at ON mrr_movements (occurred_at);

-- The back office's sorts and filters.
CREATE INDEX mrr_movements_kind ON mrr_movements (kind, occurred_at DESC);
CREATE INDEX mrr_movements_tier_after ON mrr_movements (tier_after, occurred_at DESC);
CREATE INDEX mrr_movements_day ON mrr_movements (((occurred_at AT TIME ZONE 'UTC')::date));
*/

ALTER TABLE notifications DROP CONSTRAINT notifications_report_day_plausible;
ALTER TABLE notifications DROP CONSTRAINT notifications_times_plausible;
/* The table is now:
-- The outbox: a state change and its message are two rows of one transaction, so a failing Slack never loses an alert.
-- A sender that claims a row moves next_attempt_at ahead; when it dies, the row is due again by itself.
CREATE TABLE notifications (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT notifications_pkey PRIMARY KEY,
    channel text NOT NULL,
    kind text NOT NULL,
    alert_id uuid CONSTRAINT notifications_alert_id_fkey REFERENCES alerts (id) ON DELETE CASCADE,
    report_on date,
    severity text NOT NULL,
    message text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'pending',
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    delivery_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    CONSTRAINT notifications_channel_known CHECK (channel IN ('slack', 'email')),
    CONSTRAINT notifications_kind_known CHECK (kind IN ('opened', 'escalated', 'reminder', 'resolved', 'report')),
    CONSTRAINT notifications_severity_known CHECK (severity IN ('critical', 'warning', 'info')),
    CONSTRAINT notifications_status_known CHECK (status IN ('pending', 'sent', 'dead')),
    CONSTRAINT notifications_attempts_not_negative CHECK (attempts >= 0),
    CONSTRAINT notifications_is_alert_or_report CHECK (
        (kind = 'report') = (report_on IS NOT NULL) AND (kind = 'report') = (alert_id IS NULL)
    ),
    CONSTRAINT notifications_sent_is_dated CHECK ((status = 'sent') = (sent_at IS NOT NULL))
);

CREATE INDEX notifications_due ON notifications (channel, next_attempt_at) WHERE status = 'pending';
CREATE INDEX notifications_sent_at ON notifications (channel, sent_at) WHERE status = 'sent';
CREATE INDEX notifications_alert_id ON notifications (alert_id);
CREATE UNIQUE INDEX notifications_one_report_a_day ON notifications (channel, report_on) WHERE report_on IS NOT NULL;

-- The back office's sorts and filters.
CREATE INDEX notifications_status ON notifications (status, id);
CREATE INDEX notifications_kind ON notifications (kind, id);
*/

ALTER TABLE worker_heartbeats DROP CONSTRAINT worker_heartbeats_texts_bounded;
ALTER TABLE worker_heartbeats DROP CONSTRAINT worker_heartbeats_times_plausible;
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

-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE OR REPLACE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_alerts', days);
    deleted bigint;
BEGIN
    DELETE FROM notifications AS n WHERE n.kind = 'report' AND n.report_on < (cutoff AT TIME ZONE 'UTC')::date;
    DELETE FROM alerts AS a WHERE a.state = 'resolved' AND a.resolved_at < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

-- Folds requests of api_usage into the traffic tables that the monitoring views read; returns how many, at most
-- `max_requests`. To be called every minute. Each request is folded exactly once, whenever it was made, as what counts
-- is its id and not its time; what is not folded yet, the views read from api_usage. A second caller waits.
--
-- An id is handed out before its row is committed. So the goal is the last id together with the transactions that held
-- a writer's lock on api_usage when it was read: once those have ended, no row up to the goal can appear any more.
CREATE OR REPLACE FUNCTION fold_traffic(max_requests bigint DEFAULT 500000) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
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
                AND l.relation IN (SELECT t.relid FROM pg_partition_tree('api_usage') AS t)
                AND l.pid IS DISTINCT FROM pg_backend_pid()
        ), '{}');
    END IF;

    IF progress.seen_id > progress.folded_to
        AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    THEN
        goal := least(progress.seen_id, progress.folded_to + max_requests);
        folded := fold_traffic_between(progress.folded_to, goal);
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

-- Adds the requests with after_id < id <= to_id to the traffic tables; returns how many. For fold_traffic() only, which
-- sees to it that no request is added twice or missed.
CREATE OR REPLACE FUNCTION fold_traffic_between(after_id bigint, to_id bigint) RETURNS bigint
LANGUAGE sql
SET search_path = public, pg_temp
AS $$
    WITH batch AS MATERIALIZED (
        SELECT
            u.user_id,
            u.api_key_id,
            u.endpoint,
            u.method,
            u.response_time_ms,
            (u.status_code >= 400)::int AS failed,
            date_trunc('hour', u.created_at, 'UTC') AS hour,
            (u.created_at AT TIME ZONE 'UTC')::date AS day
        FROM api_usage AS u
        WHERE u.id > after_id AND u.id <= to_id
    ),
    latency AS (
        INSERT INTO traffic_latency_hours AS t (
            hour, endpoint, method, bucket, requests, total_response_time_ms, max_response_time_ms
        )
        SELECT
            b.hour,
            b.endpoint,
            b.method,
            CASE
                WHEN b.response_time_ms <= 20 THEN b.response_time_ms
                ELSE 20 + ceil(ln(b.response_time_ms / 20.0::float8) / ln(1.1::float8))
            END,
            count(*),
            sum(b.response_time_ms),
            max(b.response_time_ms)
        FROM batch AS b
        WHERE b.hour >= now() - interval '15 days'
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (hour, endpoint, method, bucket) DO UPDATE
        SET
            requests = t.requests + excluded.requests,
            total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
            max_response_time_ms = greatest(t.max_response_time_ms, excluded.max_response_time_ms)
    ),
    hours AS (
        INSERT INTO traffic_hours AS t (hour, user_id, api_key_id, requests, failed_requests)
        SELECT b.hour, b.user_id, b.api_key_id, count(*), sum(b.failed)
        FROM batch AS b
        WHERE b.hour >= now() - interval '2 days'
        GROUP BY 1, 2, 3
        ON CONFLICT (hour, user_id, api_key_id) DO UPDATE
        SET requests = t.requests + excluded.requests, failed_requests = t.failed_requests + excluded.failed_requests
    ),
    key_months AS (
        INSERT INTO traffic_key_months AS t (month, api_key_id, requests, failed_requests)
        SELECT date_trunc('month', b.day)::date, b.api_key_id, count(*), sum(b.failed)
        FROM batch AS b
        WHERE b.api_key_id IS NOT NULL
        GROUP BY 1, 2
        ON CONFLICT (month, api_key_id) DO UPDATE
        SET requests = t.requests + excluded.requests, failed_requests = t.failed_requests + excluded.failed_requests
    ),
    batch_user_days AS MATERIALIZED (
        SELECT b.day, b.user_id, count(*) AS requests, sum(b.failed) AS failed, sum(b.response_time_ms) AS total_ms
        FROM batch AS b
        GROUP BY 1, 2
    ),
    user_days AS (
        INSERT INTO traffic_user_days AS t (day, user_id, requests, failed_requests)
        SELECT b.day, b.user_id, b.requests, b.failed
        FROM batch_user_days AS b
        ORDER BY 1, 2
        ON CONFLICT (day, user_id) DO UPDATE
        SET requests = t.requests + excluded.requests, failed_requests = t.failed_requests + excluded.failed_requests
        RETURNING t.day, t.user_id, t.requests
    ),
    days AS (
        INSERT INTO traffic_days AS t (day, requests, failed_requests, total_response_time_ms, active_users)
        SELECT
            b.day,
            sum(b.requests),
            sum(b.failed),
            sum(b.total_ms),
            -- A user's day that holds no more than this batch brought is new.
            count(*) FILTER (WHERE d.requests = b.requests)
        FROM batch_user_days AS b
        INNER JOIN user_days AS d ON d.day = b.day AND d.user_id = b.user_id
        GROUP BY b.day
        ON CONFLICT (day) DO UPDATE
        SET
            requests = t.requests + excluded.requests,
            failed_requests = t.failed_requests + excluded.failed_requests,
            total_response_time_ms = t.total_response_time_ms + excluded.total_response_time_ms,
            active_users = t.active_users + excluded.active_users
    )
    SELECT count(*) FROM batch
$$;

-- Books whatever the triggers did not see (they can be disabled, a restore can skip them); the number of movements.
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
        PERFORM book_mrr_difference(drifted.user_id, drifted.subscription_id, 'reconciled');
        booked := booked + 1;
    END LOOP;
    RETURN booked;
END
$$;

-- Recounts the days from `since` (UTC) to today; the number of days. A day whose usage was dropped keeps its count.
CREATE OR REPLACE FUNCTION refresh_daily_figures(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    first_moment CONSTANT timestamptz := since::timestamp AT TIME ZONE 'UTC';
    written bigint;
BEGIN
    IF since IS NULL OR since > today THEN
        RAISE EXCEPTION 'refresh_daily_figures: since must be a day up to today, not %', coalesce(since::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH days AS (
        SELECT g.day::date AS day FROM generate_series(since::timestamp, today::timestamp, interval '1 day') AS g (day)
    ),
    signups AS (
        SELECT (u.created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS users
        FROM users AS u WHERE u.created_at >= first_moment GROUP BY 1
    ),
    paying AS (
        SELECT d.day, sum(d.customers) AS customers FROM daily_mrr AS d WHERE d.day >= since GROUP BY d.day
    ),
    churned AS (
        SELECT (m.occurred_at AT TIME ZONE 'UTC')::date AS day, count(*) AS customers
        FROM mrr_movements AS m WHERE m.kind = 'churn' AND m.occurred_at >= first_moment GROUP BY 1
    ),
    usage_by_user AS (
        SELECT
            (a.created_at AT TIME ZONE 'UTC')::date AS day, a.user_id, count(*) AS requests,
            count(*) FILTER (WHERE a.status_code >= 400) AS failed, sum(a.response_time_ms) AS time_ms
        FROM api_usage AS a WHERE a.created_at >= first_moment GROUP BY 1, a.user_id
    ),
    usage AS (
        SELECT
            u.day, sum(u.requests) AS requests, sum(u.failed) AS failed, sum(u.time_ms) AS time_ms,
            count(*) AS users
        FROM usage_by_user AS u GROUP BY u.day
    )
    INSERT INTO daily_figures AS f (
        day, total_users, new_users, paying_customers, churned_customers, requests, failed_requests, active_users,
        total_response_time_ms
    )
    SELECT
        d.day,
        (SELECT count(*) FROM users AS u WHERE u.created_at < first_moment)
        + sum(coalesce(s.users, 0)) OVER (ORDER BY d.day),
        coalesce(s.users, 0), coalesce(p.customers, 0), coalesce(c.customers, 0), coalesce(a.requests, 0),
        coalesce(a.failed, 0), coalesce(a.users, 0), coalesce(a.time_ms, 0)
    FROM days AS d
    LEFT JOIN signups AS s USING (day)
    LEFT JOIN paying AS p USING (day)
    LEFT JOIN churned AS c USING (day)
    LEFT JOIN usage AS a USING (day)
    ON CONFLICT (day) DO UPDATE SET
        total_users = excluded.total_users,
        new_users = excluded.new_users,
        paying_customers = excluded.paying_customers,
        churned_customers = excluded.churned_customers,
        requests = CASE WHEN excluded.requests > 0 THEN excluded.requests ELSE f.requests END,
        failed_requests = CASE WHEN excluded.requests > 0 THEN excluded.failed_requests ELSE f.failed_requests END,
        active_users = CASE WHEN excluded.requests > 0 THEN excluded.active_users ELSE f.active_users END,
        total_response_time_ms = CASE
            WHEN excluded.requests > 0 THEN excluded.total_response_time_ms ELSE f.total_response_time_ms
        END,
        taken_at = now();
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Recomputes the days from `since` (UTC) to today from the ledger; the number of rows. Earlier gaps are filled too.
CREATE OR REPLACE FUNCTION refresh_daily_mrr(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    first_day date;
    written bigint;
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
            sum(l.amount_cents) AS net_cents,
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
            coalesce(o.end_cents, 0) + sum(coalesce(d.net_cents, 0)) OVER book AS end_cents,
            coalesce(o.customers, 0) + sum(coalesce(d.customers, 0)) OVER book AS customers
        FROM books AS b
        CROSS JOIN generate_series(first_day::timestamp, today::timestamp, interval '1 day') AS g (day)
        LEFT JOIN days AS d ON d.day = g.day::date AND d.currency = b.currency AND d.tier = b.tier
        LEFT JOIN opening AS o ON o.currency = b.currency AND o.tier = b.tier
        WINDOW book AS (PARTITION BY b.currency, b.tier ORDER BY g.day)
    )
    INSERT INTO daily_mrr (
        day, currency, tier, start_cents, new_cents, expansion_cents, contraction_cents, churn_cents,
        reactivation_cents, transfer_cents, end_cents, customers
    )
    SELECT
        c.day, c.currency, c.tier, c.end_cents - c.net_cents, c.new_cents, c.expansion_cents, c.contraction_cents,
        c.churn_cents, c.reactivation_cents, c.transfer_cents, c.end_cents, c.customers
    FROM closing AS c;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

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

-- Who failed three times or more at one endpoint within the last hour. Failed is a status of 400 and above.
CREATE VIEW v_repeated_failures AS
SELECT
    f.user_id,
    u.email,
    f.endpoint,
    f.failures AS failures_last_hour,
    f.last_failure_at,
    f.last_status_code,
    concat_ws(' ', f.user_id, f.endpoint) AS id
FROM (
    SELECT
        r.user_id,
        r.endpoint,
        count(*) AS failures,
        max(r.created_at) AS last_failure_at,
        (array_agg(r.status_code ORDER BY r.created_at DESC, r.id DESC))[1] AS last_status_code
    FROM api_usage AS r
    WHERE
        r.status_code >= 400
        AND r.created_at >= now() - interval '1 hour'
        AND r.created_at <= statement_timestamp()
    GROUP BY r.user_id, r.endpoint
    HAVING count(*) >= 3
) AS f
LEFT JOIN users AS u ON f.user_id = u.id;

-- Response times of each endpoint over the last 24 hours, slowest first. A percentile is the time that this share of
-- the requests took at most. Folded hours contribute the means of histogram buckets that are at most 10 % wide, the
-- rest its exact times: percentiles are a few percent off at worst; counts, mean and maximum are exact: float8, in
-- which they are added up because numeric takes longer, holds whole numbers exactly to 2^53.
CREATE VIEW v_slow_endpoints AS
WITH times AS (
    SELECT
        t.endpoint,
        t.method,
        t.ms,
        sum(t.requests) AS requests,
        sum(t.total_ms) AS total_ms,
        max(t.max_ms) AS max_ms
    FROM (
        SELECT
            h.endpoint,
            h.method,
            round((sum(h.total_response_time_ms::float8) / sum(h.requests::float8))::numeric)::int AS ms,
            sum(h.requests::float8) AS requests,
            sum(h.total_response_time_ms::float8) AS total_ms,
            max(h.max_response_time_ms) AS max_ms
        FROM traffic_latency_hours AS h
        WHERE h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC') AND h.hour <= now()
        GROUP BY h.endpoint, h.method, h.bucket
        UNION ALL
        SELECT
            r.endpoint,
            r.method,
            r.response_time_ms AS ms,
            1::float8 AS requests,
            r.response_time_ms::float8 AS total_ms,
            r.response_time_ms AS max_ms
        FROM recent_requests AS r
    ) AS t
    GROUP BY t.endpoint, t.method, t.ms
),

ranked AS (
    SELECT
        times.*,
        sum(times.requests) OVER (PARTITION BY times.endpoint, times.method ORDER BY times.ms) AS not_slower,
        sum(times.requests) OVER (PARTITION BY times.endpoint, times.method) AS all_requests
    FROM times
)

SELECT
    ranked.endpoint,
    ranked.method,
    sum(ranked.requests)::bigint AS requests,
    round(sum(ranked.total_ms)::numeric / sum(ranked.requests)::numeric, 1) AS avg_ms,
    min(ranked.ms) FILTER (WHERE ranked.not_slower >= 0.95 * ranked.all_requests) AS p95_ms,
    min(ranked.ms) FILTER (WHERE ranked.not_slower >= 0.99 * ranked.all_requests) AS p99_ms,
    max(ranked.max_ms) AS max_ms,
    concat_ws(' ', ranked.method, ranked.endpoint) AS id
FROM ranked
GROUP BY ranked.endpoint, ranked.method
ORDER BY p95_ms DESC, requests DESC;

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

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION traffic_endpoint;

DROP FUNCTION top_queries;

DROP FUNCTION system_health;

DROP FUNCTION seen_alerts;

DROP FUNCTION rows_apart;

DROP FUNCTION plain_error;

DROP FUNCTION locked_tables;

DROP FUNCTION known_checks;

DROP FUNCTION fold_traffic_range;

DROP FUNCTION error_cause;

DROP FUNCTION check_patience;

DROP TABLE unmeasured_checks;

DROP TABLE silences;

DROP TABLE readiness_requests;

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
