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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('health_of_billing', 'health_of_server', 'judged_health', 'v_alerts', 'v_critical_alerts', 'v_system_health') AND a.grantee <> c.relowner;

DROP VIEW v_system_health;
DROP VIEW v_critical_alerts;
DROP VIEW v_alerts;
DROP VIEW judged_health;
DROP VIEW health_of_server;
DROP VIEW health_of_billing;

--! tables/alert_evaluations
-- The latest evaluation of the alerts, one row: who watches is watched by it. A process that evaluates because nobody
-- has claims it for a while.
CREATE TABLE alert_evaluations (
    is_only_row boolean CONSTRAINT alert_evaluations_pkey PRIMARY KEY DEFAULT true,
    evaluated_at timestamptz NOT NULL DEFAULT now(),
    evaluated_by text NOT NULL DEFAULT '',
    claimed_until timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT alert_evaluations_one_row CHECK (is_only_row),
    CONSTRAINT alert_evaluations_times_plausible CHECK (
        least(evaluated_at, claimed_until) >= '1970-01-01 00:00:00+00'
        AND greatest(evaluated_at, claimed_until) < '2200-01-01 00:00:00+00'
    )
);

INSERT INTO alert_evaluations (is_only_row) VALUES (true);

--! tables/alerts
ALTER TABLE alerts ADD COLUMN objects text[] NOT NULL DEFAULT '{}';
ALTER TABLE alerts ADD COLUMN consequences text[] NOT NULL DEFAULT '{}';
ALTER TABLE alerts ADD COLUMN muted_by text;
ALTER TABLE alerts ADD COLUMN silenced_until timestamptz;
ALTER TABLE alerts ADD COLUMN told_message text;
ALTER TABLE alerts ADD CONSTRAINT alerts_texts_bounded CHECK ( octet_length(fingerprint) <= 800 AND octet_length(alert_type) <= 255 AND octet_length(subject) <= 800 AND octet_length(object_type) <= 255 AND octet_length(object_id) <= 800 ) NOT VALID;
ALTER TABLE alerts ADD CONSTRAINT alerts_value_possible CHECK (abs(value) < 1e30) NOT VALID;
ALTER TABLE alerts ADD CONSTRAINT alerts_times_plausible CHECK ( least( first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until, resolved_at, silenced_until ) >= '1970-01-01 00:00:00+00' AND greatest( first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until, resolved_at, silenced_until ) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    objects text[] NOT NULL DEFAULT '{}', -- noqa: LT01
    consequences text[] NOT NULL DEFAULT '{}', -- noqa: LT01
    muted_by text,
    silenced_until timestamptz,
    told_message text,
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
            resolved_at, silenced_until
        ) >= '1970-01-01 00:00:00+00'
        AND greatest(
            first_seen_at, last_seen_at, fired_at, notified_at, acknowledged_at, snoozed_until,
            resolved_at, silenced_until
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

--! tables/disk_samples
-- How full each place is, one sample an hour: free_bytes is NULL where the disk cannot be seen from the host.
CREATE TABLE disk_samples (
    host text NOT NULL,
    place text NOT NULL,
    sampled_at timestamptz NOT NULL,
    used_bytes bigint NOT NULL,
    free_bytes bigint,
    CONSTRAINT disk_samples_pkey PRIMARY KEY (place, host, sampled_at),
    CONSTRAINT disk_samples_not_negative CHECK (used_bytes >= 0 AND free_bytes >= 0),
    CONSTRAINT disk_samples_texts_bounded CHECK (octet_length(host) <= 255 AND octet_length(place) <= 255),
    CONSTRAINT disk_samples_times_plausible CHECK (
        sampled_at >= '1970-01-01 00:00:00+00' AND sampled_at < '2200-01-01 00:00:00+00'
    )
);

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
ALTER TABLE job_schedules ADD COLUMN switched_off_at timestamptz;
ALTER TABLE job_schedules ADD COLUMN switched_off_by text;
ALTER TABLE job_schedules ADD CONSTRAINT job_schedules_job_plain CHECK (job ~ '^[a-z][a-z0-9_]*$') NOT VALID;
ALTER TABLE job_schedules ADD CONSTRAINT job_schedules_texts_bounded CHECK (octet_length(job) <= 63 AND octet_length(cron) <= 255) NOT VALID;
ALTER TABLE job_schedules ADD CONSTRAINT job_schedules_times_plausible CHECK ( least(next_due_at, updated_at, switched_off_at) >= '1970-01-01 00:00:00+00' AND greatest(next_due_at, updated_at, switched_off_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
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
    switched_off_at timestamptz,
    switched_off_by text,
    CONSTRAINT job_schedules_times_positive CHECK (timeout_seconds > 0 AND interval_seconds > 0 AND grace_seconds > 0),
    CONSTRAINT job_schedules_job_plain CHECK (job ~ '^[a-z][a-z0-9_]*$'),
    CONSTRAINT job_schedules_texts_bounded CHECK (octet_length(job) <= 63 AND octet_length(cron) <= 255),
    CONSTRAINT job_schedules_times_plausible CHECK (
        least(next_due_at, updated_at, switched_off_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_due_at, updated_at, switched_off_at) < '2200-01-01 00:00:00+00'
    )
);
*/

--! tables/measurements
-- What only a program can measure, its settings and what they lead to: written at each evaluation of the alerts by
-- whoever does it.
CREATE TABLE measurements (
    check_name text NOT NULL,
    host text NOT NULL,
    value numeric,
    message text NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT measurements_pkey PRIMARY KEY (check_name, host),
    CONSTRAINT measurements_texts_bounded CHECK (octet_length(check_name) <= 255 AND octet_length(host) <= 255),
    CONSTRAINT measurements_times_plausible CHECK (
        measured_at >= '1970-01-01 00:00:00+00' AND measured_at < '2200-01-01 00:00:00+00'
    )
);

--! tables/mrr_movements
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_currency_iso CHECK (currency ~ '^[a-z]{3}$') NOT VALID;
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_texts_bounded CHECK ( octet_length(kind) <= 63 AND octet_length(tier_before) <= 63 AND octet_length(tier_after) <= 63 ) NOT VALID;
ALTER TABLE mrr_movements ADD CONSTRAINT mrr_movements_amounts_possible CHECK ( before_cents BETWEEN 0 AND 999999999999999 AND after_cents BETWEEN 0 AND 999999999999999 ) NOT VALID;
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
        before_cents BETWEEN 0 AND 999999999999999 AND after_cents BETWEEN 0 AND 999999999999999
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

--! tables/readiness_requests
-- When somebody last asked /readyz, in one row: who watches from outside is missed when he stays away.
CREATE TABLE readiness_requests (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT readiness_requests_one_row CHECK (only_row),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT readiness_requests_times_plausible CHECK (
        asked_at >= '1970-01-01 00:00:00+00' AND asked_at < '2200-01-01 00:00:00+00'
    )
);

--! tables/silences
-- Maintenance windows: alerts of the checks that a pattern names, with * for any text, send no message meanwhile.
CREATE TABLE silences (
    id uuid CONSTRAINT silences_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    check_pattern text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT silences_pattern_plain CHECK (check_pattern ~ '^[a-z0-9_*]{1,100}$'),
    CONSTRAINT silences_ends CHECK (ends_at >= starts_at),
    CONSTRAINT silences_times_plausible CHECK (
        least(starts_at, ends_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(starts_at, ends_at, created_at) < '2200-01-01 00:00:00+00'
    ),
    CONSTRAINT silences_reason_given CHECK (octet_length(reason) BETWEEN 1 AND 4000)
);

CREATE INDEX silences_ends_at ON silences (ends_at);

--! tables/unmeasured_checks
-- The checks that the latest evaluation of the alerts could not measure, and since when: a row goes with the first
-- evaluation that could.
CREATE TABLE unmeasured_checks (
    check_name text CONSTRAINT unmeasured_checks_pkey PRIMARY KEY,
    reason text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT unmeasured_checks_texts_bounded CHECK (octet_length(check_name) <= 255),
    CONSTRAINT unmeasured_checks_times_plausible CHECK (
        first_at >= '1970-01-01 00:00:00+00' AND first_at < '2200-01-01 00:00:00+00'
    )
);

--! tables/health_checks
ALTER TABLE health_checks ADD CONSTRAINT health_checks_texts_bounded CHECK ( octet_length(check_name) <= 63 AND octet_length(title) <= 800 AND octet_length(unit) <= 63 ) NOT VALID;
ALTER TABLE health_checks ADD CONSTRAINT health_checks_below_a_billion CHECK (warning_at < 1000000000 AND critical_at < 1000000000) NOT VALID;
ALTER TABLE health_checks ADD CONSTRAINT health_checks_times_plausible CHECK ( updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00' ) NOT VALID;
UPDATE health_checks SET remediation = 'Press "Sync from Stripe" on the customer''s page: the event that said what happened was lost.' WHERE check_name = 'stale_subscriptions';
UPDATE health_checks SET remediation = 'Press "Fix orphans" on the page Customers, or run manage.py fix_orphans --apply: each gets the free plan. ' || 'Then run manage.py reconcile_stripe, in case Stripe has a paid one.' WHERE check_name = 'orphaned_stripe_customers';
UPDATE health_checks SET remediation = 'Ask the customer which one to keep and press "Cancel subscription" on the page of the other, ending it now: ' || 'they are charged for both.' WHERE check_name = 'duplicate_subscriptions';
UPDATE health_checks SET remediation = 'Press "Link to a customer" or "Create a customer" on the page Unmatched customers: the events that wait are ' || 'then tried again by themselves.' WHERE check_name = 'unmatched_stripe_customers';
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('unrepaired_differences', 'Differences from Stripe that cannot be repaired', 'differences', false, 0, NULL, 'Correct at Stripe, or here, what the note of each difference says, then repair it.');
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
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('request_id_conflicts', 'Request ids that came back with other requests', 'ids', false, 0, NULL, 'Let the API server make ids of its own, a UUID each: api_usage_request_ids names customers and ids.');
UPDATE health_checks SET remediation = 'See on the page Workers what each is busy with; start the worker anew: manage.py worker.' WHERE check_name = 'queue_age';
UPDATE health_checks SET warning_at = 1, critical_at = 2, remediation = 'Start or restart the worker: manage.py worker; events and jobs wait for it.' WHERE check_name = 'worker_silence';
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
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('unmeasured_checks', 'Checks that cannot be measured', 'minutes', false, 0, 15, 'The message names what is locked, and by whom: press "End session" on the page Connections. What is missing is ' || 'made again by what manage.py database verify --sql prints, in psql. Then run manage.py run_job alerts.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('role_connections', 'Highest share of a role''s connections used', '%', false, 80, 95, 'Find who holds them on the page Connections; restart a leaking program, or raise the limit of the role.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('retained_wal', 'Most log kept for a replication slot', 'GB', false, 5, 20, 'Start the replica that reads the slot; a slot that nobody needs goes in psql by SELECT ' || 'pg_drop_replication_slot(name).');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('failures_in_a_row', 'Most failures of a job in a row', 'failures', false, 2, 5, 'Read the error on the page of the job and remove its cause; then run manage.py run_job NAME.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('switched_off_jobs', 'Jobs that are switched off', 'jobs', false, 0, NULL, 'Switch the job on again on its page, or switch this check off where the job is not wanted.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('disk_used', 'Share of the fullest disk used', '%', false, 80, 90, 'Make room on the disk that the message names, or make it larger; keep the newest good backup.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('disk_full_in', 'Time until a disk is full at its growth', 'days', true, 14, 3, 'Make the disk larger, or stop what grows: backups by BACKUP_KEEP, logs by rotation, the log by its slots.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('alert_channels', 'Channels that alerts go to', 'channels', true, 1, NULL, 'Set SLACK_WEBHOOK_URL or ALERT_EMAIL for web and worker, restart both, and send a test message.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('heartbeat_url', 'Failures in a row to ask HEARTBEAT_URL', 'failures', false, 0, NULL, 'See whether the address is right and reachable from here: until then nobody outside notices a silence.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('stripe_mode', 'Stripe keys that do not fit the mode', 'keys', false, 0, 0, 'Set STRIPE_LIVE_MODE to the mode of the key and of the webhook endpoint, then restart web and worker.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('other_mode_events', 'Events of the other mode in a day, and none of ours', 'events', false, 0, 0, 'The endpoint at Stripe belongs to the other mode: set STRIPE_LIVE_MODE, the keys and STRIPE_WEBHOOK_SECRET alike.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('missing_rights', 'Rights that the application lacks', 'rights', false, 0, NULL, 'Run manage.py database init --roles as a superuser, or grant what the message names.');
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
    'unmatched_stripe_customers', 'Customers at Stripe who belong to nobody here', 'customers', false, 0, NULL,
    'Press "Link to a customer" or "Create a customer" on the page Unmatched customers: the events that wait are '
    || 'then tried again by themselves.'
),
(
    'unrepaired_differences', 'Differences from Stripe that cannot be repaired', 'differences', false, 0, NULL,
    'Correct at Stripe, or here, what the note of each difference says, then repair it.'
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
    'request_id_conflicts', 'Request ids that came back with other requests', 'ids', false, 0, NULL,
    'Let the API server make ids of its own, a UUID each: api_usage_request_ids names customers and ids.'
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
*/

--! tables/worker_heartbeats
ALTER TABLE worker_heartbeats ADD COLUMN stopped_at timestamptz;
ALTER TABLE worker_heartbeats ADD CONSTRAINT worker_heartbeats_texts_bounded CHECK (octet_length(host) <= 255) NOT VALID;
ALTER TABLE worker_heartbeats ADD CONSTRAINT worker_heartbeats_times_plausible CHECK ( least(started_at, seen_at, pulled_at, task_deadline_at, stopped_at) >= '1970-01-01 00:00:00+00' AND greatest(started_at, seen_at, pulled_at, task_deadline_at, stopped_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- Signs of life of the queue's processes, one row each: the pusher's says that the queue is read, a worker's says what
-- it does. Who was stopped stays as it was last seen.
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
    stopped_at timestamptz,
    CONSTRAINT worker_heartbeats_process UNIQUE (host, pid),
    CONSTRAINT worker_heartbeats_role_known CHECK (role IN ('pusher', 'worker')),
    CONSTRAINT worker_heartbeats_texts_bounded CHECK (octet_length(host) <= 255),
    CONSTRAINT worker_heartbeats_times_plausible CHECK (
        least(started_at, seen_at, pulled_at, task_deadline_at, stopped_at) >= '1970-01-01 00:00:00+00'
        AND greatest(started_at, seen_at, pulled_at, task_deadline_at, stopped_at) < '2200-01-01 00:00:00+00'
    )
);
*/

--! functions/check_patience
-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, else a second.
CREATE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(nullif(current_setting('app.check_patience_ms', true), '')::int, 1000)
$$;

--! functions/cleanup_alerts
-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE OR REPLACE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
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

--! functions/error_cause
-- What errors that differ in ids and numbers only have in common: their first line without quoted values, addresses,
-- Stripe's ids, uuids, hexadecimal and other numbers, moments among them.
CREATE FUNCTION error_cause(error text) RETURNS text
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
SET work_mem = '16MB'
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
                ELSE 20::float8 + ceil(ln(b.response_time_ms::float8 / 20::float8) / ln(1.1::float8))
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
SET work_mem = '16MB'
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

--! functions/known_checks
-- Every check: the view that measures it, the view that says on which objects it fails (without one the alert is about
-- the whole system), and the checks whose failing is its cause. The server's own come first: they read no table.
--
-- No table, as it has to be known which checks a locked table hides.
CREATE FUNCTION known_checks()
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
        (
            'webhook_delay', 'health_of_events', NULL,
            '{worker_silence, overdue_jobs, switched_off_jobs, blocked_sessions}'
        ),
        ('stale_subscriptions', 'health_of_subscriptions', 'alerts_of_subscriptions', '{}'),
        ('duplicate_subscriptions', 'health_of_subscriptions', 'alerts_of_subscriptions', '{}'),
        ('orphaned_stripe_customers', 'health_of_customers', NULL, '{}'),
        ('unmatched_stripe_customers', 'health_of_customers', NULL, '{}'),
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
        ('disk_used', 'health_of_disks', NULL, '{}'),
        ('disk_full_in', 'health_of_disks', NULL, '{disk_used}'),
        ('alert_channels', 'health_of_machines', NULL, '{}'),
        ('heartbeat_url', 'health_of_machines', NULL, '{}'),
        ('stripe_mode', 'health_of_machines', NULL, '{}'),
        ('other_mode_events', 'health_of_machines', NULL, '{stripe_mode}'),
        ('missing_rights', 'health_of_machines', NULL, '{}')
    ) AS k (check_name, measured_by, alerts_by, follows_from)
$$;

--! functions/locked_tables
-- The tables and views of this database that another session has locked so that nobody can read them.
CREATE FUNCTION locked_tables()
RETURNS TABLE (relname text, pid int)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET work_mem = '16MB'
AS $$
    SELECT c.relname::text, l.pid
    FROM pg_locks AS l
    INNER JOIN pg_database AS d ON l.database = d.oid AND d.datname = current_database()
    INNER JOIN pg_class AS c ON l.relation = c.oid AND c.relkind IN ('r', 'p', 'v', 'S')
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
    ORDER BY 1, 2
    LIMIT 5
$$;

--! functions/plain_error
-- An error in words for people: what a library says of itself stays in the log and on the page of the run or event.
CREATE FUNCTION plain_error(error text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
    SELECT
        CASE
            WHEN said.line = '' THEN 'no error noted'
            WHEN said.line ~* 'lock timeout|locknotavailable' THEN 'A table stayed locked for longer than it may take.'
            WHEN said.line ~* 'statement timeout|querycanceled' THEN 'A statement took longer than it may.'
            WHEN said.line ~* 'deadlock' THEN 'Two transactions waited for each other, and one was ended.'
            WHEN said.line ~* 'no space left|disk ?full|could not extend' THEN 'The disk is full.'
            WHEN said.line ~* 'too many (clients|connections)|connection slots|couldn''t get a connection'
                THEN 'The database has no free connection.'
            WHEN
                said.line ~* 'connection to server|connection (is|was|already) (closed|lost)|closed the connection'
                OR said.line ~* 'terminating connection|adminshutdown|consuming input failed|connection is lost'
                THEN 'The database could not be reached.'
            WHEN said.line ~* '\mssl|certificate' THEN 'No secure connection could be made.'
            WHEN said.line ~* 'timed out|timeouterror|(read|connect)timeout'
                THEN 'The other side did not answer in time.'
            WHEN said.line ~* 'connectionpool|urlopen|urllib3|max retries|connection refused|connectionerror|\merrno\M'
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
                RAISE WARNING 'reconcile_mrr: left out customer %: %', drifted.user_id, SQLERRM;
        END;
    END LOOP;
    RETURN booked;
END
$$;

--! functions/refresh_daily_figures
-- Recounts the days from `since` (UTC) to today; the number of days. A day whose usage was dropped keeps its count.
CREATE OR REPLACE FUNCTION refresh_daily_figures(since date) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
SET datestyle = 'ISO'
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
        + (sum(coalesce(s.users, 0)) OVER (ORDER BY d.day))::bigint,
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
        RAISE WARNING 'refresh_daily_mrr: left out %: the ledger comes to less than nothing', wrong[n];
    END LOOP;
    RETURN written;
END
$$;

--! functions/rows_apart
-- The rows of a view as a JSON array, or the problem in words where it cannot be read within so many milliseconds of
-- waiting for a lock. Whatever is wrong with the view or with what it reads, the caller goes on.
CREATE FUNCTION rows_apart(view_name text, patience_ms int, OUT rows jsonb, OUT problem text)
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

--! functions/seen_alerts
-- Everything that is wrong now: one row per check and object or cause, of `health`, the rows of system_health(), and of
-- the views that say on which objects a check fails. The fingerprint names check and object or cause and never the
-- value, so that it stays the same while things get better or worse.
--
-- muted_by is the fingerprint of the alert that it follows from, consequences are the checks that follow from it. A
-- check of which nothing can be said now has a row without severity, and the message says why.
CREATE FUNCTION seen_alerts(health jsonb)
RETURNS TABLE (
    fingerprint text,
    severity text,
    alert_type text,
    subject text,
    message text,
    remediation text,
    value numeric,
    detected_at timestamptz,
    object_type text,
    object_id text,
    objects text[],
    consequences text[],
    muted_by text,
    silenced_until timestamptz
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    ends_at CONSTANT timestamptz := clock_timestamp() + interval '1 second';
    patience int := check_patience() / 4;
    part record;
    part_rows jsonb;
    problem text;
    seen jsonb := '[]';
    silences jsonb;
    problems jsonb := '{}';
    minutes numeric;
BEGIN
    SELECT r.rows INTO silences FROM rows_apart('current_silences', patience) AS r;
    FOR part IN
        SELECT k.alerts_by
        FROM known_checks() AS k
        INNER JOIN jsonb_to_recordset(health) AS h (check_name text, not_measured boolean)
            ON k.check_name = h.check_name
        WHERE k.alerts_by IS NOT NULL
        GROUP BY k.alerts_by
        -- What could not be measured a moment ago is not waited for again.
        HAVING NOT bool_and(h.not_measured)
        ORDER BY min(k.place)
    LOOP
        IF clock_timestamp() > ends_at THEN
            problem := 'The time for it was used up by other checks.';
        ELSE
            SELECT r.rows, r.problem INTO part_rows, problem FROM rows_apart(part.alerts_by, patience) AS r;
            seen := seen || coalesce(part_rows, '[]');
        END IF;
        IF problem IS NOT NULL THEN
            patience := patience / 2;
            problems := problems || jsonb_build_object(part.alerts_by, 'Cannot be measured: ' || problem);
        END IF;
    END LOOP;

    IF problems <> '{}' THEN
        SELECT (r.rows #>> '{0,value}')::numeric INTO minutes FROM rows_apart('health_of_measuring', patience) AS r;
    END IF;

    RETURN QUERY
    WITH checks AS (
        SELECT
            h.*,
            k.follows_from,
            CASE WHEN h.not_measured THEN h.message ELSE problems ->> k.alerts_by END AS problem,
            k.alerts_by
        FROM jsonb_to_recordset(health) AS h (
            check_name text, status text, value numeric, critical_at numeric, message text, remediation text,
            title text, not_measured boolean
        )
        INNER JOIN known_checks() AS k ON h.check_name = k.check_name
    ),

    found AS (
        SELECT
            concat_ws(':', s.check_name, s.cause) AS fingerprint,
            s.*
        FROM jsonb_to_recordset(seen) AS s (
            check_name text, cause text, severity text, subject text, message text, value numeric,
            detected_at timestamptz, object_type text, object_id text, objects text[]
        )
        UNION ALL
        -- The other checks are about the whole system.
        SELECT
            c.check_name,
            c.check_name,
            NULL,
            c.status,
            c.title,
            c.message,
            c.value,
            now(),
            'check',
            NULL,
            '{}'
        FROM checks AS c
        WHERE c.alerts_by IS NULL AND c.status IN ('critical', 'warning')
        UNION ALL
        SELECT
            'unmeasured_checks:objects',
            c.check_name,
            NULL,
            CASE WHEN minutes > c.critical_at THEN 'critical' ELSE 'warning' END,
            'What a check is about',
            (SELECT string_agg(format('%s: %s', p.key, p.value), ' ' ORDER BY p.key) FROM jsonb_each_text(problems) AS p),
            round(minutes, 2),
            now(),
            'check',
            NULL,
            '{}'
        FROM checks AS c
        WHERE c.check_name = 'unmeasured_checks' AND problems <> '{}'
    )

    SELECT
        f.fingerprint,
        f.severity,
        f.check_name,
        f.subject,
        f.message,
        c.remediation,
        f.value,
        f.detected_at,
        f.object_type,
        f.object_id,
        coalesce(f.objects, '{}'),
        ARRAY(
            SELECT DISTINCT e.check_name
            FROM found AS e
            INNER JOIN checks AS d ON e.check_name = d.check_name
            WHERE f.check_name = any(d.follows_from) AND f.severity <> 'info'
            ORDER BY e.check_name
        ),
        (
            SELECT min(e.fingerprint)
            FROM found AS e
            WHERE e.check_name = any(c.follows_from) AND e.severity <> 'info'
        ),
        q.silenced_until
    FROM found AS f
    INNER JOIN checks AS c ON f.check_name = c.check_name
    LEFT JOIN jsonb_to_recordset(silences) AS q (check_name text, silenced_until timestamptz)
        ON f.check_name = q.check_name
    UNION ALL
    SELECT
        c.check_name, NULL, c.check_name, c.title, c.problem, c.remediation, NULL, now(), 'check', NULL, '{}', '{}',
        NULL, NULL
    FROM checks AS c
    WHERE c.problem IS NOT NULL;
END
$$;

--! functions/system_health
-- Every enabled check, measured and judged: a value strictly beyond a threshold (below it, where lower is worse)
-- reaches it. A check without a value is unknown and never ok; `not_measured` says that it could not be had, as when
-- a table is locked, and the message why. The check unmeasured_checks says it of all of them: for how many minutes by
-- what evaluations of the alerts have noted, and as a warning from the first moment on.
--
-- Each view is read apart and may wait for a lock for a second. With each that gave up the next may wait half as long,
-- so that all of them together wait for two; views that come after three seconds are not read at all.
CREATE FUNCTION system_health()
RETURNS TABLE (
    check_name text,
    status text,
    value numeric,
    warning_at numeric,
    critical_at numeric,
    message text,
    remediation text,
    title text,
    unit text,
    lower_is_worse boolean,
    not_measured boolean
)
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    ends_at CONSTANT timestamptz := clock_timestamp() + interval '3 seconds';
    patience int := check_patience();
    part record;
    part_rows jsonb;
    problem text;
    no_thresholds text;
    checks jsonb;
    measured jsonb := '[]';
    problems jsonb := '{}';
    unmeasured text;
BEGIN
    SELECT r.rows, r.problem INTO checks, no_thresholds FROM rows_apart('enabled_checks', patience) AS r;
    FOR part IN
        SELECT k.measured_by
        FROM known_checks() AS k
        LEFT JOIN jsonb_to_recordset(checks) AS c (check_name text) ON k.check_name = c.check_name
        WHERE checks IS NULL OR c.check_name IS NOT NULL
        GROUP BY k.measured_by
        ORDER BY min(k.place)
    LOOP
        IF clock_timestamp() > ends_at THEN
            problem := 'The time for it was used up by other checks.';
        ELSE
            SELECT r.rows, r.problem INTO part_rows, problem FROM rows_apart(part.measured_by, patience) AS r;
            measured := measured || coalesce(part_rows, '[]');
        END IF;
        IF problem IS NOT NULL THEN
            patience := patience / 2;
            problems := problems || jsonb_build_object(part.measured_by, problem);
        END IF;
    END LOOP;

    SELECT string_agg(format('%s: %s', p.names, p.problem), ' ' ORDER BY p.names)
    INTO unmeasured
    FROM (
        SELECT
            coalesce(problems ->> k.measured_by, 'Its view does not name it.') AS problem,
            string_agg(k.check_name, ', ' ORDER BY k.place) AS names
        FROM known_checks() AS k
        LEFT JOIN jsonb_to_recordset(checks) AS c (check_name text) ON k.check_name = c.check_name
        LEFT JOIN jsonb_to_recordset(measured) AS m (check_name text) ON k.check_name = m.check_name
        WHERE m.check_name IS NULL AND (checks IS NULL OR c.check_name IS NOT NULL)
        GROUP BY problem
    ) AS p;
    unmeasured := concat_ws(' ', unmeasured, 'thresholds: ' || no_thresholds);

    RETURN QUERY
    WITH judged AS (
        SELECT
            coalesce(k.check_name, c.check_name) AS check_name,
            k.measured_by,
            -- One that this release does not know belongs to another.
            k.check_name IS NOT NULL AND m.check_name IS NULL AS not_measured,
            CASE
                WHEN k.check_name IS DISTINCT FROM 'unmeasured_checks' THEN m.value
                WHEN unmeasured = '' THEN 0
                ELSE greatest(m.value, 0.01)
            END AS value,
            CASE k.check_name
                WHEN 'unmeasured_checks' THEN coalesce(nullif(unmeasured, ''), 'Every check is measured.')
                ELSE CASE WHEN k.check_name IS NULL THEN 'Nothing measures it.' ELSE m.message END
            END AS message,
            -- Without its thresholds it still has to speak for those of the others.
            CASE WHEN checks IS NULL AND k.check_name = 'unmeasured_checks' THEN 0 ELSE c.warning_at END AS warning_at,
            CASE WHEN checks IS NULL AND k.check_name = 'unmeasured_checks' THEN 15 ELSE c.critical_at END
            AS critical_at,
            coalesce(c.lower_is_worse, false) AS lower_is_worse,
            c.remediation,
            c.title,
            c.unit
        FROM known_checks() AS k
        FULL JOIN jsonb_to_recordset(checks) AS c (
            check_name text, warning_at numeric, critical_at numeric, remediation text, title text, unit text,
            lower_is_worse boolean
        ) ON k.check_name = c.check_name
        LEFT JOIN jsonb_to_recordset(measured) AS m (check_name text, value numeric, message text)
            ON k.check_name = m.check_name
        WHERE checks IS NULL OR c.check_name IS NOT NULL
    )

    SELECT
        j.check_name,
        CASE
            WHEN j.value IS NULL OR (checks IS NULL AND j.check_name <> 'unmeasured_checks') THEN 'unknown'
            WHEN (j.lower_is_worse AND j.value < j.critical_at) OR (NOT j.lower_is_worse AND j.value > j.critical_at)
                THEN 'critical'
            WHEN (j.lower_is_worse AND j.value < j.warning_at) OR (NOT j.lower_is_worse AND j.value > j.warning_at)
                THEN 'warning'
            ELSE 'ok'
        END,
        j.value,
        j.warning_at,
        j.critical_at,
        concat_ws(
            ' ',
            CASE
                WHEN j.not_measured AND j.check_name <> 'unmeasured_checks' THEN
                    'Cannot be measured: ' || coalesce(problems ->> j.measured_by, 'its view does not name it.')
            END,
            j.message,
            CASE WHEN j.check_name <> 'unmeasured_checks' THEN 'Cannot be judged: ' || no_thresholds END
        ),
        coalesce(j.remediation, 'Find the session that holds the lock: SELECT * FROM locked_tables(). End it.'),
        coalesce(j.title, initcap(replace(j.check_name, '_', ' '))),
        coalesce(j.unit, ''),
        j.lower_is_worse,
        j.not_measured OR (checks IS NULL AND j.check_name <> 'unmeasured_checks')
    FROM judged AS j;
END
$$;

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

--! views/health_of_queue
-- The check on the task queue.
CREATE OR REPLACE VIEW health_of_queue AS
SELECT
    'queue_age' AS check_name,
    coalesce(round(max(extract(EPOCH FROM now() - q.lock)) / 60, 1), 0)::numeric AS value,
    format('Tasks that wait for a worker: %s.', count(*)) AS message
FROM django_q_ormq AS q
WHERE q.lock <= now();

--! views/health_of_requests
-- Checks on the counting of requests to the API.
CREATE OR REPLACE VIEW health_of_requests AS
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

--! views/v_failed_webhook_events
-- Events whose processing failed and waits for its next attempt, or that were given up as dead. Those of one cause have
-- errors that differ in ids and numbers only.
CREATE OR REPLACE VIEW v_failed_webhook_events AS
SELECT
    e.stripe_event_id,
    e.event_type,
    e.status,
    e.attempts,
    e.last_error,
    e.next_retry_at,
    e.received_at,
    left(md5(error_cause(e.last_error)), 12) AS cause
FROM stripe_webhook_events AS e
WHERE e.status IN ('failed', 'dead');

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

--! triggers/silences
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON silences
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id');

--! views/alerts_of_customers
-- The paying customers without an API key that works.
CREATE VIEW alerts_of_customers AS
SELECT
    'paid_users_without_keys' AS check_name,
    p.user_id::text AS cause,
    'info' AS severity,
    coalesce(p.email, p.user_id::text) AS subject,
    format('Pays for the %s plan but has no API key that works.', p.tier) AS message,
    NULL::numeric AS value,
    p.subscribed_at AS detected_at,
    'user' AS object_type,
    p.user_id::text AS object_id,
    ARRAY[p.user_id::text] AS objects
FROM v_paid_users_without_keys AS p;

--! views/alerts_of_errors
-- The customers with more failed requests within an hour than the threshold says.
CREATE VIEW alerts_of_errors AS
SELECT
    'error_rate' AS check_name,
    f.user_id::text AS cause,
    CASE WHEN f.failures > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    coalesce(u.email, f.user_id::text) AS subject,
    format('%s requests failed within the last hour.', f.failures) AS message,
    f.failures::numeric AS value,
    f.first_failure_at AS detected_at,
    'user' AS object_type,
    f.user_id::text AS object_id,
    ARRAY[f.user_id::text] AS objects
FROM failing_users AS f
INNER JOIN health_checks AS t ON t.check_name = 'error_rate'
LEFT JOIN users AS u ON f.user_id = u.id
WHERE f.failures > least(t.warning_at, t.critical_at);

--! views/alerts_of_events
-- The failing events, those of one cause together: the cause is what their errors have in common. One alone is named,
-- and its value is its attempts; of several the value is how many they are.
CREATE VIEW alerts_of_events AS
SELECT
    'failed_webhooks' AS check_name,
    g.cause,
    CASE WHEN g.dead > 0 OR g.attempts > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    CASE g.events
        WHEN 1 THEN format('%s %s', g.worst_type, g.worst_id)
        ELSE format('%s events fail for one cause', g.events)
    END AS subject,
    CASE g.events
        WHEN 1
            THEN format(
                '%s (attempts: %s): %s',
                CASE g.dead WHEN 1 THEN 'Given up' ELSE 'Failed' END, g.attempts, plain_error(g.worst_error)
            )
        ELSE format(
            '%sMost attempts: %s, of %s %s: %s',
            'Given up: ' || nullif(g.dead, 0) || '. ', g.attempts, g.worst_type, g.worst_id, plain_error(g.worst_error)
        )
    END AS message,
    CASE g.events WHEN 1 THEN g.attempts ELSE g.events END::numeric AS value,
    g.since AS detected_at,
    CASE g.events WHEN 1 THEN 'webhook_event' ELSE 'webhook_cause' END AS object_type,
    CASE g.events WHEN 1 THEN g.worst_id ELSE g.cause END AS object_id,
    g.objects
FROM (
    SELECT
        e.cause,
        count(*) AS events,
        count(*) FILTER (WHERE e.status = 'dead') AS dead,
        max(e.attempts) AS attempts,
        min(e.received_at) AS since,
        (array_agg(e.event_type ORDER BY e.attempts DESC, e.received_at ASC))[1] AS worst_type,
        (array_agg(e.stripe_event_id ORDER BY e.attempts DESC, e.received_at ASC))[1] AS worst_id,
        (array_agg(e.last_error ORDER BY e.attempts DESC, e.received_at ASC))[1] AS worst_error,
        (array_agg(e.stripe_event_id ORDER BY e.attempts DESC, e.received_at ASC))[:1000] AS objects
    FROM v_failed_webhook_events AS e
    INNER JOIN health_checks AS l ON l.check_name = 'failed_webhooks'
    WHERE e.status = 'dead' OR e.attempts > least(l.warning_at, l.critical_at)
    GROUP BY e.cause
) AS g
INNER JOIN health_checks AS t ON t.check_name = 'failed_webhooks';

--! views/alerts_of_jobs
-- The jobs that are overdue, together, as who should have run them is their cause; and those whose last run failed, by
-- what their errors have in common. One alone is named; of several the value is how many they are.
CREATE VIEW alerts_of_jobs AS
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
        left(md5(error_cause(h.last_error)), 12) AS cause,
        count(*) AS jobs,
        string_agg(h.job, ', ' ORDER BY h.job) AS names,
        array_agg(h.job ORDER BY h.job) AS objects,
        min(h.last_run_at) AS since,
        min(h.last_error) AS error
    FROM job_health AS h
    WHERE h.has_failed
    GROUP BY error_cause(h.last_error)
) AS g
INNER JOIN health_checks AS t ON g.check_name = t.check_name
WHERE g.jobs > least(t.warning_at, t.critical_at);

--! views/alerts_of_limits
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

--! views/alerts_of_subscriptions
-- The subscriptions past their end, and the customers with two at Stripe, as far as they alert.
CREATE VIEW alerts_of_subscriptions AS
SELECT
    'stale_subscriptions' AS check_name,
    s.subscription_id::text AS cause,
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
    s.subscription_id::text AS object_id,
    ARRAY[s.subscription_id::text] AS objects
FROM v_stale_subscriptions AS s
INNER JOIN health_checks AS t ON t.check_name = 'stale_subscriptions'
WHERE now() - s.current_period_end > least(t.warning_at, t.critical_at) * interval '1 day'
UNION ALL
SELECT
    'duplicate_subscriptions' AS check_name,
    d.user_id::text AS cause,
    CASE WHEN d.duplicates > t.critical_at THEN 'critical' ELSE 'warning' END AS severity,
    coalesce(d.email, d.user_id::text) AS subject,
    format('Pays for %s subscriptions at once.', d.duplicates + 1) AS message,
    d.duplicates::numeric AS value,
    d.since AS detected_at,
    'user' AS object_type,
    d.user_id::text AS object_id,
    ARRAY[d.user_id::text] AS objects
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
WHERE d.duplicates > least(t.warning_at, t.critical_at);

--! views/current_silences
-- The checks that are silenced at this moment, until when and why; of several windows the one that ends last.
CREATE VIEW current_silences AS
SELECT DISTINCT ON (k.check_name)
    k.check_name,
    s.ends_at AS silenced_until,
    s.reason,
    s.created_by
FROM silences AS s
INNER JOIN known_checks() AS k ON k.check_name LIKE replace(replace(s.check_pattern, '_', '\_'), '*', '%')
WHERE s.starts_at <= now() AND s.ends_at > now()
ORDER BY k.check_name ASC, s.ends_at DESC;

--! views/enabled_checks
-- The checks that are measured, with their thresholds and remedies.
CREATE VIEW enabled_checks AS
SELECT
    c.check_name,
    c.title,
    c.unit,
    c.lower_is_worse,
    c.warning_at,
    c.critical_at,
    c.remediation
FROM health_checks AS c
WHERE c.is_enabled;

-- What it says is no secret, and who may read v_system_health reads it as themselves.
GRANT SELECT ON enabled_checks TO public;

--! views/health_of_customers
-- Checks on customers: those of Stripe, and those who pay.
CREATE VIEW health_of_customers AS
SELECT
    'orphaned_stripe_customers' AS check_name,
    count(*)::numeric AS value,
    format('Stripe customers without a live subscription: %s.', count(*)) AS message
FROM v_orphaned_stripe_customers
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
FROM v_paid_users_without_keys;

--! views/health_of_disks
-- Checks on disks, of the samples of the last day, and how long they last at the growth of two weeks. Without samples,
-- and without a day between the first and the last, a value is NULL: unknown.
CREATE VIEW health_of_disks AS
WITH places AS MATERIALIZED (
    SELECT
        s.place,
        s.host,
        (array_agg(s.used_bytes ORDER BY s.sampled_at DESC))[1] AS used,
        (array_agg(s.free_bytes ORDER BY s.sampled_at DESC))[1] AS free,
        CASE
            WHEN max(s.sampled_at) - min(s.sampled_at) >= interval '1 day'
                THEN regr_slope(s.used_bytes, extract(EPOCH FROM s.sampled_at)) * 86400
        END AS growth
    FROM disk_samples AS s
    WHERE s.sampled_at > now() - interval '14 days'
    GROUP BY s.place, s.host
    HAVING max(s.sampled_at) > now() - interval '1 day'
),

lasting AS (
    SELECT
        p.place,
        p.host,
        p.free,
        p.growth,
        CASE WHEN p.growth > 0 THEN least(p.free / p.growth, 365) ELSE 365 END AS days
    FROM places AS p
    WHERE p.growth IS NOT NULL AND p.free IS NOT NULL
)

SELECT
    'disk_used' AS check_name,
    round(max(100.0 * p.used / nullif(p.used + p.free, 0)), 1) AS value,
    coalesce(
        string_agg(
            format(
                '%s on %s is %s %% full, %s are free', p.place, p.host,
                round(100.0 * p.used / nullif(p.used + p.free, 0)), pg_size_pretty(p.free)
            ),
            '; '
            ORDER BY p.used::numeric / nullif(p.used + p.free, 0) DESC, p.place ASC, p.host ASC
        ) || '.',
        'No disk was measured within the last day.'
    ) AS message
FROM places AS p
-- What lies on the disk of the data directory is part of what that uses.
WHERE p.free IS NOT NULL AND p.place NOT IN ('database', 'WAL')
UNION ALL
SELECT
    'disk_full_in' AS check_name,
    round(min(l.days)::numeric, 1) AS value,
    coalesce(
        string_agg(
            CASE
                WHEN l.days >= 365 THEN format('%s on %s lasts for a year or more', l.place, l.host)
                ELSE format(
                    '%s on %s is full in %s days, by %s a day', l.place, l.host, floor(l.days),
                    pg_size_pretty(l.growth::bigint)
                )
            END,
            '; '
            ORDER BY l.days ASC, l.place ASC, l.host ASC
        ) || '.',
        'Known once there are samples of a day.'
    ) AS message
FROM lasting AS l;

--! views/health_of_errors
-- The check on requests that fail.
CREATE VIEW health_of_errors AS
SELECT
    'error_rate' AS check_name,
    coalesce(max(f.failures), 0)::numeric AS value,
    format(
        'Customers with failed requests in the last hour: %s; most of one: %s.', count(*), coalesce(max(f.failures), 0)
    ) AS message
FROM failing_users AS f;

--! views/health_of_events
-- Checks on Stripe's events.
CREATE VIEW health_of_events AS
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

--! views/health_of_jobs
-- Checks on the jobs. Without any schedule a value is NULL: unknown.
CREATE VIEW health_of_jobs AS
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
FROM job_health AS j
UNION ALL
SELECT
    'failures_in_a_row' AS check_name,
    coalesce(max(j.failures), 0)::numeric AS value,
    coalesce(
        string_agg(format('%s failed %s times in a row', j.job, j.failures), ', ' ORDER BY j.failures DESC, j.job ASC)
        FILTER (WHERE j.failures > 1) || '.',
        'No job failed twice in a row.'
    ) AS message
FROM (
    SELECT
        f.job,
        (
            SELECT count(*)
            FROM (
                SELECT
                FROM job_runs AS r
                WHERE
                    r.job = f.job AND r.status = 'failed'
                    AND r.started_at > coalesce(f.succeeded_at, '-infinity')
                LIMIT 1000 -- noqa: AM09
            ) AS runs
        ) AS failures
    FROM (
        SELECT
            h.job,
            s.started_at AS succeeded_at
        FROM job_health AS h
        LEFT JOIN last_job_runs AS s ON h.job = s.job AND s.kind = 'succeeded'
        WHERE h.has_failed
    ) AS f
) AS j
UNION ALL
SELECT
    'switched_off_jobs' AS check_name,
    count(*)::numeric AS value,
    coalesce(
        string_agg(
            format(
                '%s is switched off%s%s',
                s.job,
                ' since ' || date_trunc('second', s.switched_off_at),
                ' by ' || s.switched_off_by
            ),
            ', '
            ORDER BY s.job
        ) || '.',
        'Every job is switched on.'
    ) AS message
FROM job_schedules AS s
WHERE NOT s.enabled;

--! views/health_of_limits
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

--! views/health_of_machines
-- Checks that a program measured: as the latest evaluation of the alerts found it. Nothing from before the last hour
-- counts. A NULL value is unknown.
CREATE VIEW health_of_machines AS
SELECT
    k.check_name,
    m.value,
    coalesce(m.message, 'Not measured within the last hour: an evaluation of the alerts does so.') AS message
FROM known_checks() AS k
LEFT JOIN LATERAL (
    SELECT
        n.value,
        n.message
    FROM measurements AS n
    WHERE n.check_name = k.check_name AND n.measured_at > now() - interval '1 hour'
    ORDER BY n.measured_at DESC
    LIMIT 1
) AS m ON true
WHERE k.measured_by = 'health_of_machines';

--! views/health_of_measuring
-- For how many minutes evaluations of the alerts could not measure some check.
CREATE VIEW health_of_measuring AS
SELECT
    'unmeasured_checks' AS check_name,
    coalesce(round(max(extract(EPOCH FROM clock_timestamp() - u.first_at) / 60), 2), 0) AS value,
    NULL AS message
FROM unmeasured_checks AS u;

--! views/health_of_partitions
-- The check on the months ahead: each needs a partition.
CREATE VIEW health_of_partitions AS
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
    'partitions_ahead' AS check_name,
    min(a.months)::numeric AS value,
    string_agg(format('%s: %s months ahead', a.parent, a.months), ', ' ORDER BY a.parent) || '.' AS message
FROM headroom AS a;

--! views/health_of_postgres
-- Checks on the database server; of sessions only on those in this database. A NULL value is unknown: this role may not
-- see it (pg_read_all_stats).
CREATE VIEW health_of_postgres AS
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
),

-- Not pg_partition_tree(), which waits for locks on each.
counted AS (
    SELECT 'api_usage'::regclass AS relid
    UNION ALL
    SELECT i.inhrelid::regclass AS relid
    FROM pg_inherits AS i
    WHERE i.inhparent = 'api_usage'::regclass
),

holders AS (
    SELECT
        a.usename,
        count(*) AS sessions
    FROM pg_stat_activity AS a
    WHERE a.usename IS NOT NULL
    GROUP BY a.usename
)

SELECT
    'connections' AS check_name,
    c.percent_used::numeric AS value,
    format(
        '%s of %s connections are used: %s.',
        c.total,
        c.max_connections,
        (
            SELECT
                string_agg(
                    format(
                        '%s by %s as %s', t.sessions, coalesce(nullif(t.application_name, ''), 'somebody'), t.usename
                    ),
                    ', '
                    ORDER BY t.sessions DESC, t.application_name ASC
                )
            FROM (
                SELECT
                    a.usename,
                    a.application_name,
                    count(*) AS sessions
                FROM pg_stat_activity AS a
                WHERE a.usename IS NOT NULL
                GROUP BY a.usename, a.application_name
                ORDER BY sessions DESC, a.application_name ASC
                LIMIT 3
            ) AS t
        )
    ) AS message
FROM v_database_connections AS c
UNION ALL
-- What is left of the connections that a role may have is for its own programs only.
SELECT
    'role_connections' AS check_name,
    coalesce(round(max(100.0 * coalesce(h.sessions, 0) / r.rolconnlimit), 1), 0) AS value,
    coalesce(
        string_agg(
            format(
                '%s has %s of %s left', r.rolname, greatest(r.rolconnlimit - coalesce(h.sessions, 0), 0), r.rolconnlimit
            ),
            ', '
            ORDER BY coalesce(h.sessions, 0)::numeric / r.rolconnlimit DESC, r.rolname ASC
        ) || '.',
        'No role has a limit.'
    ) AS message
FROM pg_roles AS r
LEFT JOIN holders AS h ON r.rolname = h.usename
WHERE r.rolconnlimit > 0 AND r.rolcanlogin
UNION ALL
SELECT
    'retained_wal' AS check_name,
    coalesce(round(max(s.bytes) / 1073741824, 2), 0) AS value,
    coalesce(
        string_agg(
            format(
                'Slot %s (%s) keeps %s',
                s.slot_name, CASE WHEN s.active THEN 'active' ELSE 'nobody reads it' END, pg_size_pretty(s.bytes)
            ),
            ', '
            ORDER BY s.bytes DESC, s.slot_name ASC
        ) || '.',
        'There is no replication slot.'
    ) AS message
FROM (
    SELECT
        p.slot_name,
        p.active,
        pg_wal_lsn_diff(
            CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, p.restart_lsn
        ) AS bytes
    FROM pg_replication_slots AS p
    WHERE p.restart_lsn IS NOT NULL
) AS s
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
    FROM counted AS f
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

-- What it says is no secret, and who may read v_system_health reads it as themselves.
GRANT SELECT ON health_of_postgres TO public;

--! views/health_of_reconciliation
-- The check on differences from Stripe that repairing has left.
CREATE VIEW health_of_reconciliation AS
SELECT
    'unrepaired_differences' AS check_name,
    count(*)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No difference from Stripe waits for a person.'
        ELSE format(
            'Differences from Stripe that cannot be repaired as they are: %s, the newest: %s',
            count(*), left((array_agg(d.note ORDER BY d.id DESC))[1], 500)
        )
    END AS message
FROM reconciliation_differences AS d
WHERE d.status = 'open' AND d.note IS NOT NULL;

--! views/health_of_request_ids
-- The check on request ids, which an API server has to make anew for each request.
CREATE VIEW health_of_request_ids AS
SELECT
    'request_id_conflicts' AS check_name,
    count(*)::numeric AS value,
    CASE count(*)
        WHEN 0 THEN 'No request id came back with another request within a day.'
        ELSE format(
            'Request ids that came back with other requests within a day, which are not counted: %s, of %s customers.',
            count(*), count(DISTINCT i.user_id)
        )
    END AS message
FROM api_usage_request_ids AS i
WHERE i.conflicted_at > now() - interval '24 hours';

--! views/health_of_sequences
-- The check on sequences. A NULL value is unknown: this role may not read one of them.
CREATE VIEW health_of_sequences AS
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
) AS s;

--! views/health_of_subscriptions
-- Checks on subscriptions.
CREATE VIEW health_of_subscriptions AS
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
    'duplicate_subscriptions' AS check_name,
    count(DISTINCT s.user_id)::numeric AS value,
    format('Customers who pay for more than one subscription: %s.', count(DISTINCT s.user_id)) AS message
FROM live_subscriptions AS s
WHERE s.is_duplicate;

--! views/health_of_worker
-- The check on the workers: how long ago one of their clusters last showed that it works. Its pusher reads the queue,
-- and what it pulled is begun: one that pulled a task and whose workers, none of them within the limit of its task,
-- have done nothing since hangs. Where none has ever run the time counts from the installation on.
CREATE VIEW health_of_worker AS
SELECT
    'worker_silence' AS check_name,
    round(extract(EPOCH FROM now() - coalesce(max(c.worked_at), i.installed_at)) / 60, 2) AS value,
    CASE
        WHEN count(c.seen_at) = 0
            THEN format('No worker has ever run. The installation is of %s.', date_trunc('second', i.installed_at))
        WHEN bool_and(c.stopped_at IS NOT NULL)
            THEN format('The worker was stopped at %s.', date_trunc('second', max(c.stopped_at)))
        WHEN max(c.worked_at) < max(c.seen_at)
            THEN format('The worker hangs: it has begun nothing since %s.', date_trunc('second', max(c.worked_at)))
        ELSE format('The queue was last read at %s.', date_trunc('second', max(c.seen_at)))
    END AS message
FROM (
    SELECT min(m.applied) AS installed_at
    FROM django_migrations AS m
    WHERE m.app = 'monitoring'
) AS i
LEFT JOIN (
    SELECT
        h.host,
        h.cluster_pid,
        max(h.seen_at) FILTER (WHERE h.role = 'pusher') AS seen_at,
        max(h.stopped_at) AS stopped_at,
        CASE
            -- What was pulled this moment is begun in the next.
            WHEN
                max(h.pulled_at) > max(h.seen_at) FILTER (WHERE h.role = 'worker')
                AND max(h.pulled_at) < now() - interval '5 seconds'
                AND NOT coalesce(bool_or(h.task_deadline_at > now()), false)
                THEN max(h.seen_at) FILTER (WHERE h.role = 'worker')
            ELSE max(h.seen_at) FILTER (WHERE h.role = 'pusher')
        END AS worked_at
    FROM worker_heartbeats AS h
    GROUP BY h.host, h.cluster_pid
) AS c ON c.seen_at IS NOT NULL
GROUP BY i.installed_at;

--! views/stray_months
-- The months whose rows lie in a default partition, and the table that keeps their partition from being made, NULL
-- where there is none. Bounded, as more rows make no difference.
CREATE VIEW stray_months AS
SELECT
    s.table_name,
    s.month,
    s.row_count,
    c.relname::text COLLATE "default" AS in_the_way -- noqa: RF02
FROM (
    SELECT
        'api_usage' AS table_name,
        date_trunc('month', u.at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS row_count
    FROM (SELECT d.created_at AS at FROM api_usage_default AS d LIMIT 10000) AS u -- noqa: AM09
    GROUP BY 2
    UNION ALL
    SELECT
        'audit_log' AS table_name,
        date_trunc('month', a.at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS row_count
    FROM (SELECT d.occurred_at AS at FROM audit_log_default AS d LIMIT 10000) AS a -- noqa: AM09
    GROUP BY 2
) AS s
LEFT JOIN pg_class AS c
    ON
        c.relname = s.table_name || to_char(s.month::timestamp, '"_"YYYY"_"MM')
        AND c.relnamespace = 'public'::regnamespace;

--! views/health_of_strays
-- The check on rows whose month has no partition.
CREATE VIEW health_of_strays AS
SELECT
    'default_partition_rows' AS check_name,
    coalesce(sum(s.row_count), 0)::numeric AS value,
    format(
        '%s rows of api_usage and %s of audit_log are in a month without partition',
        coalesce(sum(s.row_count) FILTER (WHERE s.table_name = 'api_usage'), 0),
        coalesce(sum(s.row_count) FILTER (WHERE s.table_name = 'audit_log'), 0)
    )
    || coalesce(
        ': ' || string_agg(to_char(s.month::timestamp, 'YYYY-MM'), ', ' ORDER BY s.month) FILTER (WHERE s.nearest <= 3)
        || CASE WHEN count(*) > 3 THEN format(' and %s more', count(*) - 3) ELSE '' END, ''
    )
    || coalesce(
        '; to be renamed or dropped, as in the way: '
        || string_agg(s.in_the_way, ', ' ORDER BY s.month) FILTER (WHERE s.in_the_way IS NOT NULL), ''
    )
    || '.' AS message
FROM (
    SELECT
        m.table_name,
        m.month,
        m.row_count,
        m.in_the_way,
        row_number() OVER (ORDER BY abs(m.month - now()::date), m.table_name) AS nearest
    FROM stray_months AS m
) AS s;

--! views/v_alerts
-- Everything that somebody should know now: one row per check and object or cause. What follows from another alert is
-- muted, which names it. Thresholds are those of health_checks; a disabled check raises nothing.
CREATE VIEW v_alerts AS
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
    a.object_id,
    a.objects,
    a.consequences,
    a.silenced_until
FROM (
    SELECT jsonb_agg(to_jsonb(h)) AS rows
    FROM system_health() AS h
) AS health
CROSS JOIN LATERAL seen_alerts(health.rows) AS a
WHERE a.severity IS NOT NULL AND a.muted_by IS NULL;

--! views/v_critical_alerts
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
    a.object_id,
    a.objects,
    a.consequences,
    a.silenced_until
FROM v_alerts AS a
WHERE a.severity = 'critical';

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

--! views/v_system_health
-- Every check with its value, its thresholds and what to do. A check that cannot be measured, or that this role may not
-- see, is unknown and never ok.
CREATE VIEW v_system_health AS
SELECT
    h.check_name,
    h.status,
    h.value,
    h.warning_at,
    h.critical_at,
    h.message,
    h.remediation,
    h.title,
    h.unit,
    h.lower_is_worse,
    h.not_measured
FROM system_health() AS h;

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

--! views/judged_health
-- Gone.

--! views/health_of_server
-- Gone.

--! views/health_of_billing
-- Gone.

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
