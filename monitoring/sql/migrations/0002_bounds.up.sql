-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/alerts
ALTER TABLE alerts ADD CONSTRAINT alerts_texts_bounded CHECK ( octet_length(fingerprint) <= 800 AND octet_length(alert_type) <= 255 AND octet_length(subject) <= 800 AND octet_length(object_type) <= 255 AND octet_length(object_id) <= 800 ) NOT VALID;
ALTER TABLE alerts ADD CONSTRAINT alerts_value_possible CHECK (abs(value) < 1e30) NOT VALID;
ALTER TABLE alerts ADD CONSTRAINT alerts_times_plausible CHECK ( least( first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until, resolved_at ) >= '1970-01-01 00:00:00+00' AND greatest( first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until, resolved_at ) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    CONSTRAINT alerts_resolved_is_dated CHECK ((state = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT alerts_texts_bounded CHECK (
        octet_length(fingerprint) <= 800 AND octet_length(alert_type) <= 255 AND octet_length(subject) <= 800
        AND octet_length(object_type) <= 255 AND octet_length(object_id) <= 800
    ),
    -- Neither infinite nor no number at all, which compare with no threshold.
    CONSTRAINT alerts_value_possible CHECK (abs(value) < 1e30),
    CONSTRAINT alerts_times_plausible CHECK (
        least(
            first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until,
            resolved_at
        ) >= '1970-01-01 00:00:00+00'
        AND greatest(
            first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until,
            resolved_at
        ) < '2200-01-01 00:00:00+00'
    )
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

--! tables/health_checks
ALTER TABLE health_checks ADD CONSTRAINT health_checks_texts_bounded CHECK ( octet_length(check_name) <= 63 AND octet_length(title) <= 800 AND octet_length(unit) <= 63 ) NOT VALID;
ALTER TABLE health_checks ADD CONSTRAINT health_checks_below_a_billion CHECK (warning_at < 1000000000 AND critical_at < 1000000000) NOT VALID;
ALTER TABLE health_checks ADD CONSTRAINT health_checks_times_plausible CHECK ( updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00' ) NOT VALID;
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

--! tables/job_runs
ALTER TABLE job_runs ADD CONSTRAINT job_runs_texts_bounded CHECK ( octet_length(job) <= 63 AND octet_length(worker) <= 255 AND octet_length("trigger") <= 255 ) NOT VALID;
ALTER TABLE job_runs ADD CONSTRAINT job_runs_times_plausible CHECK ( least(scheduled_for, started_at, finished_at, lease_until) >= '1970-01-01 00:00:00+00' AND greatest(scheduled_for, started_at, finished_at, lease_until) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    CONSTRAINT job_runs_attempts_positive CHECK (attempts > 0),
    CONSTRAINT job_runs_texts_bounded CHECK (
        octet_length(job) <= 63 AND octet_length(worker) <= 255 AND octet_length("trigger") <= 255
    ),
    CONSTRAINT job_runs_times_plausible CHECK (
        least(scheduled_for, started_at, finished_at, lease_until) >= '1970-01-01 00:00:00+00'
        AND greatest(scheduled_for, started_at, finished_at, lease_until) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX job_runs_one_running ON job_runs (job) WHERE status = 'running';
CREATE INDEX job_runs_started_at ON job_runs (started_at DESC);
CREATE INDEX job_runs_job ON job_runs (job, started_at DESC) INCLUDE (status, finished_at);

-- The back office's sorts and filters.
CREATE INDEX job_runs_status ON job_runs (status, started_at DESC);
*/

--! tables/job_schedules
ALTER TABLE job_schedules ADD CONSTRAINT job_schedules_job_plain CHECK (job ~ '^[a-z][a-z0-9_]*$') NOT VALID;
ALTER TABLE job_schedules ADD CONSTRAINT job_schedules_texts_bounded CHECK (octet_length(job) <= 63 AND octet_length(cron) <= 255) NOT VALID;
ALTER TABLE job_schedules ADD CONSTRAINT job_schedules_times_plausible CHECK ( least(next_due_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(next_due_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    CONSTRAINT job_schedules_times_positive CHECK (timeout_seconds > 0 AND interval_seconds > 0 AND grace_seconds > 0),
    CONSTRAINT job_schedules_job_plain CHECK (job ~ '^[a-z][a-z0-9_]*$'),
    CONSTRAINT job_schedules_texts_bounded CHECK (octet_length(job) <= 63 AND octet_length(cron) <= 255),
    CONSTRAINT job_schedules_times_plausible CHECK (
        least(next_due_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_due_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);
*/

--! tables/mrr_movements
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_currency_iso CHECK (currency ~ '^[a-z]{3}$') NOT VALID;
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_texts_bounded CHECK ( octet_length(kind) <= 63 AND octet_length(tier_before) <= 63 AND octet_length(tier_after) <= 63 ) NOT VALID;
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_amounts_possible CHECK ( before_cents BETWEEN 0 AND 999999999999 AND after_cents BETWEEN 0 AND 999999999999 ) NOT VALID;
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_times_plausible CHECK ( occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    ),
    CONSTRAINT mrr_movements_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT mrr_movements_texts_bounded CHECK (
        octet_length(kind) <= 63 AND octet_length(tier_before) <= 63 AND octet_length(tier_after) <= 63
    ),
    CONSTRAINT mrr_movements_amounts_possible CHECK (
        before_cents BETWEEN 0 AND 999999999999 AND after_cents BETWEEN 0 AND 999999999999
    ),
    CONSTRAINT mrr_movements_times_plausible CHECK (
        occurred_at >= '1970-01-01 00:00:00+00' AND occurred_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX mrr_movements_user_id ON mrr_movements (user_id, id DESC);
CREATE INDEX mrr_movements_occurred_at ON mrr_movements (occurred_at);

-- The back office's sorts and filters.
CREATE INDEX mrr_movements_kind ON mrr_movements (kind, occurred_at DESC);
CREATE INDEX mrr_movements_tier_after ON mrr_movements (tier_after, occurred_at DESC);
CREATE INDEX mrr_movements_day ON mrr_movements (((occurred_at AT TIME ZONE 'UTC')::date));
*/

--! tables/notifications
ALTER TABLE notifications ADD CONSTRAINT notifications_report_day_plausible CHECK (report_on >= '1970-01-01' AND report_on < '2200-01-01') NOT VALID;
ALTER TABLE notifications ADD CONSTRAINT notifications_times_plausible CHECK ( least(next_attempt_at, created_at, sent_at) >= '1970-01-01 00:00:00+00' AND greatest(next_attempt_at, created_at, sent_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    CONSTRAINT notifications_sent_is_dated CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT notifications_report_day_plausible CHECK (report_on >= '1970-01-01' AND report_on < '2200-01-01'),
    CONSTRAINT notifications_times_plausible CHECK (
        least(next_attempt_at, created_at, sent_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_attempt_at, created_at, sent_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX notifications_due ON notifications (channel, next_attempt_at) WHERE status = 'pending';
CREATE INDEX notifications_sent_at ON notifications (channel, sent_at) WHERE status = 'sent';
CREATE INDEX notifications_alert_id ON notifications (alert_id);
CREATE UNIQUE INDEX notifications_one_report_a_day ON notifications (channel, report_on) WHERE report_on IS NOT NULL;

-- The back office's sorts and filters.
CREATE INDEX notifications_status ON notifications (status, id);
CREATE INDEX notifications_kind ON notifications (kind, id);
*/

--! tables/worker_heartbeats
ALTER TABLE worker_heartbeats ADD CONSTRAINT worker_heartbeats_texts_bounded CHECK (octet_length(host) <= 255) NOT VALID;
ALTER TABLE worker_heartbeats ADD CONSTRAINT worker_heartbeats_times_plausible CHECK ( least(started_at, seen_at, pulled_at, task_deadline_at) >= '1970-01-01 00:00:00+00' AND greatest(started_at, seen_at, pulled_at, task_deadline_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    CONSTRAINT worker_heartbeats_role_known CHECK (role IN ('pusher', 'worker')),
    CONSTRAINT worker_heartbeats_texts_bounded CHECK (octet_length(host) <= 255),
    CONSTRAINT worker_heartbeats_times_plausible CHECK (
        least(started_at, seen_at, pulled_at, task_deadline_at) >= '1970-01-01 00:00:00+00'
        AND greatest(started_at, seen_at, pulled_at, task_deadline_at) < '2200-01-01 00:00:00+00'
    )
);
*/

--! functions/cleanup_alerts
-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE OR REPLACE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff CONSTANT timestamptz := retention_cutoff('cleanup_alerts', days);
BEGIN
    PERFORM delete_rows(
        'notifications', format($c$kind = 'report' AND report_on < %L$c$, (cutoff AT TIME ZONE 'UTC')::date)
    );
    RETURN delete_rows('alerts', format($c$state = 'resolved' AND resolved_at < %L$c$, cutoff));
END
$$;

--! functions/fold_traffic
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

--! functions/fold_traffic_between
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
            traffic_endpoint(u.endpoint) AS endpoint,
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

--! functions/fold_traffic_range
-- As fold_traffic_between(), but a request that cannot be folded keeps no other one: each half is folded on its own,
-- down to that request, which is named by a warning and never folded.
CREATE FUNCTION fold_traffic_range(after_id bigint, to_id bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    middle CONSTANT bigint := after_id + (to_id - after_id) / 2;
BEGIN
    RETURN fold_traffic_between(after_id, to_id);
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR plpgsql_error THEN
    IF to_id = after_id + 1 THEN
        RAISE WARNING 'fold_traffic: left out request %: %', to_id, SQLERRM;
        RETURN 0;
    END IF;
    RETURN fold_traffic_range(after_id, middle) + fold_traffic_range(middle, to_id);
END
$$;

REVOKE EXECUTE ON FUNCTION fold_traffic_range(bigint, bigint) FROM public;

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
                RAISE WARNING 'reconcile_mrr: left out customer %: %', drifted.user_id, SQLERRM;
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
        RAISE WARNING 'refresh_daily_mrr: left out %: the ledger comes to less than nothing', wrong[n];
    END LOOP;
    RETURN written;
END
$$;

--! functions/traffic_endpoint
-- The endpoint as the traffic tables name it: as it is up to 200 characters, else its beginning and its hash, so that
-- different endpoints stay apart.
CREATE FUNCTION traffic_endpoint(endpoint text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
AS $$
    SELECT CASE WHEN length(endpoint) <= 200 THEN endpoint ELSE left(endpoint, 200) || '… ' || md5(endpoint) END
$$;

--! views/v_repeated_failures
-- Who failed three times or more at one endpoint within the last hour. Failed is a status of 400 and above. An endpoint
-- of more than 200 characters is named as in the traffic tables.
CREATE OR REPLACE VIEW v_repeated_failures AS
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
        traffic_endpoint(r.endpoint) AS endpoint,
        count(*) AS failures,
        max(r.created_at) AS last_failure_at,
        (array_agg(r.status_code ORDER BY r.created_at DESC, r.id DESC))[1] AS last_status_code
    FROM api_usage AS r
    WHERE
        r.status_code >= 400
        AND r.created_at >= now() - interval '1 hour'
        AND r.created_at <= statement_timestamp()
    GROUP BY r.user_id, traffic_endpoint(r.endpoint)
    HAVING count(*) >= 3
) AS f
LEFT JOIN users AS u ON f.user_id = u.id;

--! views/v_slow_endpoints
-- Response times of each endpoint over the last 24 hours, slowest first. A percentile is the time that this share of
-- the requests took at most. Folded hours contribute the means of histogram buckets that are at most 10 % wide, the
-- rest its exact times: percentiles are a few percent off at worst; counts, mean and maximum are exact: float8, in
-- which they are added up because numeric takes longer, holds whole numbers exactly to 2^53.
CREATE OR REPLACE VIEW v_slow_endpoints AS
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
            traffic_endpoint(r.endpoint) AS endpoint,
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
