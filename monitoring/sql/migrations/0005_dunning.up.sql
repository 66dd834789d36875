-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/health_checks
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('revenue_at_risk', 'Share of MRR whose invoices are overdue', '%', false, 5, 15, 'Ask the customers on the page Payments at risk: press "Send payment link" or "Try now", or "Give until" for who ' || 'asks for time.');
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
    'revenue_at_risk', 'Share of MRR whose invoices are overdue', '%', false, 5, 15,
    'Ask the customers on the page Payments at risk: press "Send payment link" or "Try now", or "Give until" for who '
    || 'asks for time.'
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
        ('revenue_at_risk', 'health_of_payments', NULL, '{}'),
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

--! views/failed_invoices
-- The invoices whose first try to charge them failed, over 13 months, one row each, with what became of each: recovered
-- once it is paid, open while it is owed and can be collected, and else lost. Code and amount are those of the first
-- try. A charge that names no invoice, and that no invoice names, tried the customer's newest of the same amount.
CREATE VIEW failed_invoices AS
SELECT
    f.user_id,
    f.invoice_id AS stripe_invoice_id,
    f.failed_at,
    f.code,
    f.currency,
    f.amount_cents,
    CASE
        WHEN r.recovered_at IS NOT NULL OR i.stripe_data ->> 'status' = 'paid' THEN 'recovered'
        -- The first invoice of a subscription can be paid for a day, before the subscription lives.
        WHEN i.stripe_data ->> 'status' = 'open' AND s.status = 'incomplete' THEN 'open'
        WHEN r.is_pending OR o.status IN ('draft', 'open') THEN 'open'
        ELSE 'lost'
    END AS outcome,
    coalesce(
        r.recovered_at,
        CASE
            WHEN i.stripe_data ->> 'status' = 'paid' AND i.stripe_data #>> '{status_transitions,paid_at}' ~ '^\d{1,10}$'
                THEN to_timestamp((i.stripe_data #>> '{status_transitions,paid_at}')::bigint)
        END
    ) AS recovered_at
FROM (
    SELECT DISTINCT ON (t.invoice_id)
        t.invoice_id,
        t.user_id,
        t.failed_at,
        t.code,
        t.currency,
        t.amount_cents
    FROM (
        SELECT
            p.id,
            p.user_id,
            coalesce(p.stripe_invoice_id, n.id) AS invoice_id,
            p.created_at AS failed_at,
            coalesce(p.decline_code, p.failure_code, 'unknown') AS code,
            p.currency,
            p.amount_cents
        FROM payment_history AS p
        LEFT JOIN LATERAL (
            SELECT v.id
            FROM djstripe_invoice AS v
            WHERE
                p.stripe_invoice_id IS NULL
                AND v.customer_id = p.stripe_customer_id
                AND v.stripe_data ->> 'currency' = p.currency
                AND v.stripe_data ->> 'amount_due' = p.amount_cents::text
                AND v.created <= p.created_at
            ORDER BY v.created DESC, v.id DESC
            LIMIT 1
        ) AS n ON true
        WHERE
            p.status = 'failed'
            AND NOT p.paid_out_of_band
            AND p.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '13 months'
    ) AS t
    WHERE t.invoice_id IS NOT NULL
    ORDER BY t.invoice_id, t.failed_at, t.id
) AS f
INNER JOIN LATERAL (
    SELECT
        min(e.paid_at) AS recovered_at,
        coalesce(bool_or(e.status = 'pending'), false) AS is_pending
    FROM payment_history AS e
    WHERE e.stripe_invoice_id = f.invoice_id
) AS r ON true
LEFT JOIN open_invoices AS o ON f.invoice_id = o.stripe_invoice_id
LEFT JOIN djstripe_invoice AS i ON f.invoice_id = i.id
LEFT JOIN subscriptions AS s
    ON coalesce(
        i.stripe_data #>> '{parent,subscription_details,subscription}', i.stripe_data ->> 'subscription'
    ) = s.stripe_subscription_id;

--! views/v_expiring_cards
-- The subscriptions whose card will have expired when it is charged next, or has already. Not those that end before.
CREATE VIEW v_expiring_cards AS
SELECT
    s.user_id,
    u.email,
    c.brand AS card_brand,
    c.last4 AS card_last4,
    c.expires_on AS card_expires_on,
    d.next_charge_at,
    s.tier,
    s.price_cents AS mrr_cents,
    s.currency,
    s.id AS subscription_id
FROM charged_cards AS c
INNER JOIN subscriptions AS s ON c.subscription_id = s.id
INNER JOIN users AS u ON s.user_id = u.id
INNER JOIN LATERAL (
    SELECT CASE s.status WHEN 'trialing' THEN coalesce(s.trial_end, s.current_period_end) ELSE s.current_period_end END
        AS next_charge_at
) AS d ON true
WHERE
    s.status IN ('trialing', 'active', 'past_due')
    AND s.price_cents > 0
    AND NOT s.cancel_at_period_end
    AND (s.cancel_at IS NULL OR s.cancel_at > d.next_charge_at)
    AND s.collection_paused IS NULL
    AND (d.next_charge_at AT TIME ZONE 'UTC')::date > c.expires_on;

--! views/v_payment_recovery
-- What became of the invoices that could not be charged at first, by the month (UTC) of the first try, its code and the
-- currency, over 13 months. Of each count and amount: failed = recovered + lost + open. mean_days is how long the
-- recovered ones took.
CREATE VIEW v_payment_recovery AS
SELECT
    g.month,
    g.code,
    decline_words(g.code) AS reason,
    g.currency,
    g.failed,
    g.recovered,
    g.lost,
    g.open,
    g.failed_cents,
    g.recovered_cents,
    g.lost_cents,
    g.open_cents,
    g.mean_days,
    round(100.0 * g.recovered_cents / nullif(g.failed_cents, 0), 2) AS recovered_percent,
    concat_ws(' ', g.month, g.code, g.currency) AS id
FROM (
    SELECT
        date_trunc('month', f.failed_at AT TIME ZONE 'UTC')::date AS month,
        f.code,
        f.currency,
        count(*) AS failed,
        count(*) FILTER (WHERE f.outcome = 'recovered') AS recovered,
        count(*) FILTER (WHERE f.outcome = 'lost') AS lost,
        count(*) FILTER (WHERE f.outcome = 'open') AS open,
        sum(f.amount_cents)::bigint AS failed_cents,
        coalesce(sum(f.amount_cents) FILTER (WHERE f.outcome = 'recovered'), 0)::bigint AS recovered_cents,
        coalesce(sum(f.amount_cents) FILTER (WHERE f.outcome = 'lost'), 0)::bigint AS lost_cents,
        coalesce(sum(f.amount_cents) FILTER (WHERE f.outcome = 'open'), 0)::bigint AS open_cents,
        round((avg(extract(EPOCH FROM f.recovered_at - f.failed_at)) / 86400)::numeric, 2) AS mean_days
    FROM failed_invoices AS f
    WHERE
        f.failed_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '12 months'
    GROUP BY 1, 2, 3
) AS g;

--! views/v_payments_at_risk
-- What is overdue of live subscriptions, one row an invoice: open, past its day and not on its way. mrr_cents is what
-- the subscription counts in MRR, nothing where it does not count any more. reason is the decline in words, the card
-- what the next try is charged to. last_contact_at is when staff last wrote to the customer, wrote something down about
-- them or gave them time, owner who looks after it, extended_until_on the day until which the customer has time.
CREATE VIEW v_payments_at_risk AS
SELECT
    o.user_id,
    u.email,
    o.stripe_invoice_id,
    o.amount_due_cents,
    o.currency,
    coalesce(p.mrr_cents, 0) AS mrr_cents,
    o.attempt_count,
    o.failure_code,
    o.next_attempt_at,
    d.overdue_since,
    round(extract(EPOCH FROM now() - d.overdue_since) / 86400, 2) AS days_overdue,
    o.number,
    s.tier,
    s.status AS subscription_status,
    o.decline_code,
    decline_words(coalesce(o.decline_code, o.failure_code)) AS reason,
    c.brand AS card_brand,
    c.last4 AS card_last4,
    c.expires_on AS card_expires_on,
    greatest(n.noted_at, r.asked_at, k.extended_at) AS last_contact_at,
    k.owner,
    k.extended_until_on,
    k.extended_until_on >= (now() AT TIME ZONE 'UTC')::date AS is_extended,
    o.subscription_id,
    o.id
FROM open_invoices AS o
INNER JOIN LATERAL (
    -- Nobody tells when a due date passes.
    SELECT coalesce(o.overdue_since, CASE WHEN o.due_at <= now() THEN o.due_at END) AS overdue_since
) AS d ON true
INNER JOIN users AS u ON o.user_id = u.id
INNER JOIN subscriptions AS s ON o.subscription_id = s.id
LEFT JOIN paying_subscriptions AS p ON o.subscription_id = p.subscription_id
LEFT JOIN charged_cards AS c ON o.subscription_id = c.subscription_id
LEFT JOIN payment_cases AS k ON o.stripe_invoice_id = k.stripe_invoice_id
LEFT JOIN LATERAL (
    SELECT max(e.created_at) AS noted_at
    FROM customer_notes AS e
    WHERE e.user_id = o.user_id
) AS n ON true
LEFT JOIN LATERAL (
    SELECT max(m.asked_at) AS asked_at
    FROM payment_reminders AS m
    WHERE m.user_id = o.user_id AND m.state <> 'refused'
) AS r ON true
WHERE
    o.status = 'open'
    AND d.overdue_since IS NOT NULL
    -- A debit takes days to settle.
    AND NOT EXISTS (
        SELECT
        FROM payment_history AS h
        WHERE h.stripe_invoice_id = o.stripe_invoice_id AND h.status = 'pending'
    );

--! views/health_of_payments
-- The check on what is not paid: the share of MRR whose invoices are overdue, without those whose customers were given
-- time. Amounts of different currencies cannot be added, so each currency's share counts by its paying customers.
CREATE VIEW health_of_payments AS
SELECT
    'revenue_at_risk' AS check_name,
    coalesce(round(100 * sum(m.customers * m.at_risk_cents / m.mrr_cents) / sum(m.customers), 2), 0) AS value,
    CASE coalesce(sum(m.customers_at_risk), 0)
        WHEN 0 THEN 'Nothing that counts in MRR is overdue.'
        ELSE format(
            'Paying customers with overdue invoices: %s of %s; the oldest since %s.',
            sum(m.customers_at_risk), sum(m.customers), to_char(min(m.since), 'YYYY-MM-DD')
        )
    END AS message
FROM (
    SELECT
        p.currency,
        count(*) AS customers,
        sum(p.mrr_cents)::numeric AS mrr_cents,
        count(r.overdue_since) AS customers_at_risk,
        coalesce(sum(p.mrr_cents) FILTER (WHERE r.overdue_since IS NOT NULL), 0) AS at_risk_cents,
        min(r.overdue_since) AS since
    FROM paying_subscriptions AS p
    LEFT JOIN (
        SELECT
            v.subscription_id,
            min(v.overdue_since) AS overdue_since
        FROM v_payments_at_risk AS v
        WHERE v.is_extended IS NOT true
        GROUP BY v.subscription_id
    ) AS r ON p.subscription_id = r.subscription_id
    GROUP BY p.currency
) AS m;
