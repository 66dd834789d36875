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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('alerts_of_subscriptions', 'health_of_stripe_requests', 'health_of_subscriptions', 'v_failed_webhook_events', 'alerts_of_events', 'v_revenue_metrics', 'v_users_near_limit', 'alerts_of_limits', 'health_of_limits', 'waiting_causes', 'alerts_of_waiting', 'health_of_events') AND a.grantee <> c.relowner;

DROP VIEW health_of_events;
DROP VIEW alerts_of_waiting;
DROP VIEW waiting_causes;
DROP VIEW health_of_limits;
DROP VIEW alerts_of_limits;
DROP VIEW v_users_near_limit;
DROP VIEW v_revenue_metrics;
DROP VIEW alerts_of_events;
DROP VIEW v_failed_webhook_events;
DROP VIEW health_of_subscriptions;
DROP VIEW health_of_stripe_requests;
DROP VIEW alerts_of_subscriptions;

DELETE FROM health_checks WHERE check_name = 'unclaimed_prices';
DELETE FROM health_checks WHERE check_name = 'waiting_events';
DELETE FROM health_checks WHERE check_name = 'unsettled_stripe_requests';
DELETE FROM health_checks WHERE check_name = 'replica_away';
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

-- Writes the ledger anew from the dates of the subscriptions themselves, then every day's snapshot: for data that was
-- loaded with its past, as a demo or an import. The number of movements.
-- Loses what only the ledger knows (prices changed in place), so recorded changes are replaced only when asked to.
CREATE OR REPLACE FUNCTION rebuild_mrr_history(replace_recorded boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    first_day date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('reconcile_mrr', 0));
    IF NOT coalesce(replace_recorded, false) AND EXISTS (SELECT FROM mrr_movements WHERE origin = 'change') THEN
        RAISE EXCEPTION 'rebuild_mrr_history: the ledger holds recorded changes, which the rebuilt one would lose'
            USING HINT = 'rebuild_mrr_history(true) replaces them.';
    END IF;
    PERFORM set_config('app.rebuild_mrr_history', 'on', true);
    DELETE FROM mrr_movements;
    PERFORM set_config('app.rebuild_mrr_history', 'off', true);

    WITH paid AS (
        SELECT
            s.id, s.user_id, s.tier, s.currency, s.price_cents,
            greatest(s.created_at, s.trial_end) AS started_at,
            CASE
                WHEN p.subscription_id IS NOT NULL THEN 'infinity'
                WHEN s.status = 'canceled' THEN s.canceled_at
                ELSE coalesce(s.current_period_start, s.created_at)
            END AS ended_at
        FROM subscriptions AS s
        LEFT JOIN paying_subscriptions AS p ON p.subscription_id = s.id
        WHERE s.tier <> 'free' AND s.price_cents > 0 AND NOT s.is_duplicate AND s.status <> 'trialing'
    ),
    spans AS (
        SELECT
            p.*,
            row_number() OVER customer AS ordinal,
            lag(p.ended_at) OVER customer AS previous_ended_at,
            lag(p.price_cents) OVER customer AS previous_cents,
            lag(p.tier) OVER customer AS previous_tier,
            lag(p.currency) OVER customer AS previous_currency,
            lead(p.started_at) OVER customer AS next_started_at,
            lead(p.currency) OVER customer AS next_currency
        FROM paid AS p
        WHERE p.started_at < p.ended_at AND p.started_at <= now()
        WINDOW customer AS (PARTITION BY p.user_id ORDER BY p.started_at, p.ended_at)
    ),
    starts AS (
        SELECT
            s.*,
            -- The next plan began before this one ended: the customer moved and never left.
            coalesce(s.previous_ended_at >= s.started_at AND s.previous_currency = s.currency, false) AS moved
        FROM spans AS s
    ),
    changes AS (
        SELECT
            s.started_at AS occurred_at, s.user_id, s.id AS subscription_id, s.currency,
            CASE WHEN s.moved THEN s.previous_cents ELSE 0 END AS before_cents, s.price_cents AS after_cents,
            CASE WHEN s.moved THEN s.previous_tier END AS tier_before, s.tier AS tier_after,
            CASE
                WHEN NOT s.moved THEN CASE WHEN s.ordinal = 1 THEN 'new' ELSE 'reactivation' END
                WHEN s.price_cents < s.previous_cents THEN 'contraction'
                ELSE 'expansion'
            END AS kind
        FROM starts AS s
        WHERE NOT (s.moved AND s.price_cents = s.previous_cents AND s.tier = s.previous_tier)
        UNION ALL
        SELECT
            least(s.ended_at, s.next_started_at), s.user_id, s.id, s.currency, s.price_cents, 0, s.tier, NULL, 'churn'
        FROM spans AS s
        WHERE
            least(s.ended_at, s.next_started_at) <= now()
            AND NOT coalesce(s.next_started_at <= s.ended_at AND s.next_currency = s.currency, false)
    )
    INSERT INTO mrr_movements (
        occurred_at, user_id, subscription_id, kind, currency, amount_cents, before_cents, after_cents,
        tier_before, tier_after, origin
    )
    SELECT
        c.occurred_at, c.user_id, c.subscription_id, c.kind, c.currency, c.after_cents - c.before_cents,
        c.before_cents, c.after_cents, c.tier_before, c.tier_after, 'history'
    FROM changes AS c
    ORDER BY c.occurred_at, c.user_id, c.kind = 'churn' DESC;

    PERFORM reconcile_mrr();
    DELETE FROM daily_mrr;
    first_day := least(
        (SELECT min(m.occurred_at AT TIME ZONE 'UTC') FROM mrr_movements AS m),
        (SELECT min(u.created_at AT TIME ZONE 'UTC') FROM users AS u)
    )::date;
    PERFORM refresh_daily_mrr(coalesce(first_day, (now() AT TIME ZONE 'UTC')::date));
    PERFORM refresh_daily_figures(coalesce(first_day, (now() AT TIME ZONE 'UTC')::date));
    RETURN (SELECT count(*) FROM mrr_movements);
END
$$;

-- v_revenue_metrics: a payment that Stripe dated counts then, another one when it was written.
CREATE INDEX payment_history_effective_at ON payment_history ((coalesce(paid_at, created_at)));

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

-- Events whose processing failed and waits for its next attempt, or that were given up as dead. Those of one cause have
-- errors that differ in ids and numbers only.
CREATE VIEW v_failed_webhook_events AS
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

-- One row, also in an empty database. MRR is what subscriptions in active and past_due pay a month: no trials, no free
-- tier, no duplicates, no taxes. Months are calendar months in UTC. Revenue is what was collected, before refunds and
-- disputes; refunds stand beside it, in the month of the payment they reduce. All amounts are in one currency, the one
-- most customers pay in; how many pay in another is the last column.
CREATE VIEW v_revenue_metrics AS
WITH paying AS MATERIALIZED (
    SELECT
        s.currency,
        count(DISTINCT s.user_id) AS customers,
        sum(s.mrr_cents)::bigint AS mrr_cents
    FROM paying_subscriptions AS s
    GROUP BY s.currency
),

payments AS MATERIALIZED (
    SELECT
        p.currency,
        count(*) AS payments,
        sum(p.amount_cents) FILTER (WHERE p.is_this_month AND p.is_collected) AS this_month_cents,
        sum(p.amount_cents) FILTER (WHERE NOT p.is_this_month AND p.is_collected) AS last_month_cents,
        sum(p.refunded_cents) FILTER (WHERE p.is_this_month) AS refunded_cents,
        count(*) FILTER (WHERE p.is_this_month AND p.status = 'failed') AS failed
    FROM (
        SELECT
            h.currency,
            h.amount_cents,
            h.refunded_cents,
            h.status,
            h.status NOT IN ('pending', 'failed') AS is_collected,
            coalesce(h.paid_at, h.created_at)
            >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS is_this_month
        FROM payment_history AS h
        WHERE
            coalesce(h.paid_at, h.created_at)
            >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC'
            AND coalesce(h.paid_at, h.created_at)
            < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
    ) AS p
    GROUP BY p.currency
),

reporting AS (
    SELECT used.currency
    FROM (
        SELECT
            1 AS preference,
            paying.customers AS uses,
            paying.currency
        FROM paying
        UNION ALL
        SELECT
            2 AS preference,
            payments.payments AS uses,
            payments.currency
        FROM payments
        UNION ALL
        SELECT
            3 AS preference,
            0 AS uses,
            'usd' AS currency
    ) AS used
    ORDER BY used.preference ASC, used.uses DESC, used.currency = 'usd' DESC, used.currency ASC
    LIMIT 1
)

SELECT
    coalesce(paying.mrr_cents, 0) AS mrr_cents,
    coalesce(paying.mrr_cents, 0) * 12 AS arr_cents,
    coalesce(round(paying.mrr_cents::numeric / paying.customers), 0)::bigint AS arpu_cents,
    coalesce(paying.customers, 0) AS paying_customers,
    coalesce(payments.this_month_cents, 0)::bigint AS revenue_this_month_cents,
    coalesce(payments.last_month_cents, 0)::bigint AS revenue_last_month_cents,
    coalesce(payments.refunded_cents, 0)::bigint AS refunded_this_month_cents,
    coalesce(payments.failed, 0) AS failed_payments_this_month,
    reporting.currency,
    (
        SELECT coalesce(sum(other.customers), 0)::bigint
        FROM paying AS other
        WHERE other.currency <> reporting.currency
    ) AS customers_in_other_currencies
FROM reporting
LEFT JOIN paying ON reporting.currency = paying.currency
LEFT JOIN payments ON reporting.currency = payments.currency;

-- Customers who used 80 % or more of this calendar month's limit (UTC), by exact usage: what is folded plus what is
-- queued. A limit of zero is used up by the first request. Unlimited plans are never near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued requests is looked at as well.
CREATE VIEW v_users_near_limit AS
WITH least AS MATERIALIZED (
    SELECT greatest(ceil(0.8 * min(s.monthly_request_limit)), 1)::bigint AS requests
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
    s.user_id,
    u.email,
    s.tier,
    usage.requests AS usage_count,
    s.monthly_request_limit,
    CASE
        WHEN s.monthly_request_limit = 0 THEN 100.00
        ELSE round(100.0 * usage.requests / s.monthly_request_limit, 2)
    END AS percent_used
FROM usage
INNER JOIN live_subscriptions AS s ON usage.user_id = s.user_id AND NOT s.is_duplicate
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = s.user_id AND c.status <> 'deleted'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE usage.requests >= (SELECT least.requests FROM least) AND usage.requests >= 0.8 * s.monthly_request_limit;

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

DROP TRIGGER refuse_unknown_task ON django_q_schedule;

-- Gone.

-- Gone.

-- Gone.

DROP FUNCTION refresh_all_days;

DROP FUNCTION rebuild_mrr_history_of;

DROP FUNCTION mrr_history;

DROP FUNCTION refuse_unknown_task;

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
