-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/health_checks
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('revenue_at_risk', 'Share of MRR whose invoices are overdue', '%', false, 5, 15, 'Ask the customers on the page Payments at risk: press "Send payment link" or "Try now", or "Give until" for who ' || 'asks for time.');
UPDATE health_checks SET remediation = 'Press "Grant extra quota", or offer the next plan, before requests are refused; it ends with either, or with the ' || 'month.' WHERE check_name = 'users_near_limit';
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
*/

--! functions/check_patience
-- How many milliseconds the first view that is locked may keep a reading of all waiting: the setting
-- app.check_patience_ms, up to a second, which it is without one that is a number.
CREATE OR REPLACE FUNCTION check_patience() RETURNS int
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT
        CASE
            WHEN current_setting('app.check_patience_ms', true) ~ '^[0-9]{1,4}$'
                THEN least(current_setting('app.check_patience_ms')::int, 1000)
            ELSE 1000
        END
$$;

--! functions/error_cause
-- What errors that differ in ids, names in quotes and numbers only have in common: their first line without quoted
-- values, paths of addresses, e-mail addresses, Stripe's ids, uuids, numbers of invoices, words with a digit, and
-- moments. One … stands for all that follow each other.
CREATE OR REPLACE FUNCTION error_cause(error text) RETURNS text
LANGUAGE plpgsql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
DECLARE
    cause text := left(split_part(btrim(coalesce(error, ''), E' \n'), E'\n', 1), 500);
    pattern text;
BEGIN
    -- What the first parentheses of each hold stays.
    FOREACH pattern IN ARRAY ARRAY[
        '(^|[\s(=:,])(''([^'']|''\w)*''(?!\w)|"[^"]*"|`[^`]*`|“[^”]*”|‘[^’]*’|«[^»]*»)',
        '(https?://[^\s/?#]+)\S*',
        '()[^\s@<>(),;:]+@[^\s@<>(),;:]+',
        '()\m[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\M',
        '()\m[A-Z0-9]{6,}-[0-9]+\M',
        '()\m[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7}\M',
        '()\m[a-z]+_\w*[A-Z]\w*',
        '()\w*[0-9](\w|[.,:/+-]+\w)*'
    ]
    LOOP
        cause := regexp_replace(cause, pattern, '\1…', 'g');
    END LOOP;
    -- Few ids are left that have neither a digit nor a capital, and looking for them takes longer than all before.
    IF strpos(cause, '_') > 0 THEN
        cause := regexp_replace(
            cause,
            '\m(evt|cus|sub|si|price|prod|plan|in|ii|il|ch|py|pi|pm|re|du|dp|txn|po|seti|acct|req|tok|src|card|we)_\w+',
            '…', 'g'
        );
    END IF;
    cause := regexp_replace(
        cause,
        '\m(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[.,]?\s+(?=…)',
        '…', 'g'
    );
    RETURN btrim(regexp_replace(cause, '[-+$#]*…([-\s(),.:;/+$#%]*…)*', '…', 'g'));
END
$$;

--! functions/fold_traffic
-- Folds requests of api_usage into the traffic tables that the monitoring views read; returns how many, at most
-- `max_requests`. To be called every minute. Each request is folded exactly once, whenever it was made, as what counts
-- is its id and not its time; what is not folded yet, the views read from api_usage. A second caller waits. A request
-- that cannot be folded is named by a warning and left out of the traffic tables for good.
--
-- An id is handed out before its row is committed. So the goal is the last id together with the transactions that held
-- a writer's lock on api_usage when it was read: once those have ended, no row up to the goal can appear any more. They
-- are waited for up to a second; those of a long transaction keep the goal until they end.
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
    give_up_at timestamptz;
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

    give_up_at := clock_timestamp() + interval '1 second';
    WHILE
        progress.seen_id > progress.folded_to
        AND clock_timestamp() < give_up_at
        AND EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;

    IF progress.seen_id > progress.folded_to
        AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.virtualtransaction = ANY (progress.seen_writers))
    THEN
        goal := least(progress.seen_id, progress.folded_to + max_requests);
        folded := fold_traffic_range(progress.folded_to, goal);
        progress.folded_to := goal;
        progress.folded_at := clock_timestamp();
        PERFORM delete_rows('traffic_hours', 'hour < now() - interval ''2 days''');
        PERFORM delete_rows('traffic_latency_hours', 'hour < now() - interval ''15 days''');
        PERFORM delete_rows('traffic_user_days', 'day < (now() AT TIME ZONE ''UTC'')::date - 95');
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

--! functions/forecast_requests
-- The requests to be expected in the 30 days from `as_of` (UTC) on, NULL: from today on, by the whole days before it;
-- one row. low_requests to high_requests is an 80 % interval. run_rate_requests is the last 30 days once more, the
-- forecast to beat; days_known the days there are, past_forecasts on how many earlier forecasts the interval rests.
--
-- A day is expected to bring the mean of the same weekday in the last four weeks, times the trend: the slope of a
-- straight line through the logarithms of the last weeks' sums, twelve at most, damped by 0.95 a week (E. S. Gardner
-- and E. McKenzie, "Forecasting trends in time series", Management Science 31, 1985, p. 1237-1246; R. J. Hyndman and G.
-- Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, section 8.2, https://otexts.com/fpp3/holt.html).
-- The interval is 1.28 standard deviations to both sides, as in their section 5.5, on the logarithm of the sum; the
-- deviation is that of the same forecast made on each earlier day of the last two years whose 30 days are over.
-- With less than four weeks the mean day is expected; with less than 71 days there is no interval.
CREATE FUNCTION forecast_requests(as_of date DEFAULT NULL) RETURNS TABLE (
    days_known int,
    expected_requests bigint,
    low_requests bigint,
    high_requests bigint,
    run_rate_requests bigint,
    past_forecasts int
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
SET datestyle = 'ISO'
AS $$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    opens CONSTANT date := coalesce(as_of, today);
BEGIN
    IF opens > today OR NOT isfinite(opens) THEN
        RAISE EXCEPTION 'forecast_requests: as_of must be a day up to today, not %', as_of
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    -- Days are counted back from the one before `opens`, which is 1.
    WITH days AS MATERIALIZED (
        SELECT opens - g.day::date AS back, coalesce(t.requests, 0)::float8 AS requests
        FROM generate_series(
            (
                SELECT greatest(min(f.day), opens - 844) FROM traffic_days AS f
                WHERE f.requests > 0 HAVING count(*) > 0
            )::timestamp,
            opens - interval '1 day',
            interval '1 day'
        ) AS g (day)
        LEFT JOIN traffic_days AS t ON t.day = g.day::date
    ),
    sums AS MATERIALIZED (
        SELECT
            d.back,
            d.requests,
            sum(d.requests) OVER (ORDER BY d.back DESC ROWS 6 PRECEDING) AS week,
            sum(d.requests) OVER (ORDER BY d.back DESC ROWS 29 PRECEDING) AS month,
            count(*) OVER (ORDER BY d.back DESC) AS known,
            (
                d.requests + lag(d.requests, 7) OVER oldest_first + lag(d.requests, 14) OVER oldest_first
                + lag(d.requests, 21) OVER oldest_first
            ) / 4::float8 AS same_weekday
        FROM days AS d
        WINDOW oldest_first AS (ORDER BY d.back DESC)
    ),
    -- A forecast is known by the last day before it.
    trends AS (
        SELECT o.back, coalesce(regr_slope(ln(greatest(w.week, 1)), (-n)::float8), 0) AS slope
        FROM sums AS o
        CROSS JOIN generate_series(0, 11) AS n
        INNER JOIN sums AS w ON w.back = o.back + 7 * n AND w.known >= 7
        WHERE o.known >= 28 AND (o.back = 1 OR o.back BETWEEN 31 AND 730)
        GROUP BY o.back
    ),
    -- The mean of the last four weeks stands for their middle, 13.5 days before the first day.
    forecasts AS MATERIALIZED (
        SELECT
            t.back,
            sum(
                s.same_weekday
                * exp(t.slope * 0.95::float8 * (1::float8 - power(0.95::float8, a.weeks)) / 0.05::float8)
            ) AS requests
        FROM trends AS t
        CROSS JOIN generate_series(1, 30) AS n
        CROSS JOIN LATERAL (SELECT (n::float8 + 13.5::float8) / 7::float8 AS weeks) AS a
        INNER JOIN sums AS s ON s.back = t.back + 6 - (n - 1) % 7
        GROUP BY t.back
    ),
    errors AS (
        SELECT
            count(*) AS forecasts,
            sqrt(avg(power(ln(greatest(s.month, 1) / greatest(f.requests, 1)), 2))) AS deviation
        FROM forecasts AS f
        INNER JOIN sums AS s ON s.back = f.back - 30
    ),
    expected AS (
        SELECT
            count(*)::int AS days_known,
            coalesce((SELECT f.requests FROM forecasts AS f WHERE f.back = 1), 30::float8 * avg(s.requests)) AS requests,
            sum(s.requests) FILTER (WHERE s.back <= 30) AS run_rate
        FROM sums AS s
    )
    SELECT
        x.days_known,
        CASE WHEN x.days_known > 0 THEN least(round(x.requests), 9e18)::bigint END,
        CASE WHEN e.forecasts >= 14 THEN least(round(x.requests / exp(w.width)), 9e18)::bigint END,
        CASE WHEN e.forecasts >= 14 THEN least(round(x.requests * exp(w.width)), 9e18)::bigint END,
        CASE WHEN x.days_known > 0 THEN least(x.run_rate, 9e18)::bigint END,
        e.forecasts::int
    FROM expected AS x
    CROSS JOIN errors AS e
    CROSS JOIN LATERAL (SELECT 1.2816::float8 * e.deviation AS width) AS w;
END
$$;

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

--! functions/refuse_unknown_task
-- A schedule names one of the functions that the queue runs, and no other to be called with the result. A row that does
-- not is refused, as one that django-q2 cannot read stops every schedule. The worker has the same list.
CREATE OR REPLACE FUNCTION refuse_unknown_task() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    known constant text[] := ARRAY[
        'billing.tasks.advance_replay', 'billing.tasks.erase_customer', 'billing.tasks.process_event',
        'billing.tasks.resync_customer', 'billing.tasks.send_key_notice', 'billing.tasks.send_leak_notice',
        'glyphforge.staff.notices.send', 'monitoring.jobs.runner.run_now', 'monitoring.jobs.runner.run_slot'
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

--! functions/rows_apart
-- The rows of a view as a JSON array, or the problem in words where it cannot be read within so many milliseconds of
-- waiting for a lock. Whatever is wrong with the view or with what it reads, the caller goes on; a view whose columns
-- are not of the types that the callers read is wrong too.
CREATE OR REPLACE FUNCTION rows_apart(view_name text, patience_ms int, OUT rows jsonb, OUT problem text)
RETURNS record
LANGUAGE plpgsql
SET search_path = public, pg_temp
-- Moments stand in messages.
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET lock_timeout = '1s'
AS $$
DECLARE
    found jsonb;
BEGIN
    PERFORM set_config('lock_timeout', format('%sms', greatest(patience_ms, 1)), true);
    EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(r)), ''[]'') FROM %I AS r', view_name) INTO found;
    PERFORM FROM jsonb_to_recordset(found) AS r (
        warning_at numeric, critical_at numeric, lower_is_worse boolean, value numeric, detected_at timestamptz,
        objects text[], silenced_until timestamptz
    );
    rows := found;
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

--! functions/usage_forecasts
-- Whether these customers' requests will fit into their limit of this calendar month (UTC): one row for each of them
-- with a live subscription. requests is what counts so far, exact; expected_requests the whole month's; reached_on the
-- day on which the limit is used up, which may be over, NULL where it holds; fitting_tier the cheapest plan that the
-- whole month fits into.
--
-- A day to come is expected to bring the mean of the same weekday in the last 28 days, and today what it has not
-- brought yet of that; whoever joined less than 28 days ago is measured by the whole days since, and by their mean over
-- all weekdays when those are fewer than 14. Days come from the folded traffic, which lags by a minute.
CREATE FUNCTION usage_forecasts(customers uuid[]) RETURNS TABLE (
    user_id uuid,
    requests bigint,
    monthly_request_limit bigint,
    expected_requests bigint,
    reached_on date,
    fitting_tier text
)
LANGUAGE plpgsql
STABLE
SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    this_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    last_day CONSTANT date := (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month - 1 day')::date;
    wanted CONSTANT date[] := ARRAY(
        SELECT g::date FROM generate_series(least(this_month, today - 28)::timestamp, today::timestamp, interval '1 day') AS g
    );
BEGIN
    IF customers IS NULL THEN
        RAISE EXCEPTION 'usage_forecasts: customers must be a list of ids, not NULL'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    WITH counted AS MATERIALIZED (
        SELECT s.user_id, s.total_requests
        FROM monthly_usage_summary AS s
        WHERE s.month = this_month AND s.user_id = ANY (customers)
    ),
    entitled AS MATERIALIZED (
        SELECT
            e.user_id, e.monthly_request_limit,
            coalesce(c.total_requests, 0) AS requests,
            greatest(today - 28, (u.created_at AT TIME ZONE 'UTC')::date, first_folded.day) AS since
        FROM entitlements AS e
        INNER JOIN users AS u ON u.id = e.user_id
        LEFT JOIN counted AS c ON c.user_id = e.user_id
        CROSS JOIN (SELECT min(d.day) AS day FROM traffic_days AS d) AS first_folded
        WHERE e.user_id = ANY (customers)
    ),
    -- A list of days, so that each is looked up by the key, which begins with the day.
    used AS MATERIALIZED (
        SELECT e.user_id, d.day, d.requests::float8 AS requests
        FROM entitled AS e
        CROSS JOIN LATERAL (
            SELECT t.day, t.requests FROM traffic_user_days AS t
            WHERE t.day = ANY (wanted) AND t.user_id = e.user_id
            OFFSET 0
        ) AS d
    ),
    -- The mean of a weekday; of weekday NULL, of every day.
    means AS (
        SELECT e.user_id, weekday, avg(coalesce(d.requests, 0)) AS requests
        FROM entitled AS e
        CROSS JOIN LATERAL generate_series(e.since::timestamp, today - interval '1 day', interval '1 day') AS g (day)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN today - e.since >= 14 THEN extract(isodow FROM g.day) END AS weekday
        ) AS w
        LEFT JOIN used AS d ON d.user_id = e.user_id AND d.day = g.day::date
        GROUP BY e.user_id, weekday
    ),
    to_come AS (
        SELECT
            e.user_id, g.day::date AS day,
            sum(
                CASE
                    WHEN g.day::date = today THEN greatest(coalesce(m.requests, 0) - coalesce(d.requests, 0), 0)
                    ELSE coalesce(m.requests, 0)
                END
            ) OVER (PARTITION BY e.user_id ORDER BY g.day) AS requests
        FROM entitled AS e
        CROSS JOIN generate_series(today::timestamp, last_day::timestamp, interval '1 day') AS g (day)
        LEFT JOIN means AS m
            ON m.user_id = e.user_id AND coalesce(m.weekday = extract(isodow FROM g.day), true)
        LEFT JOIN used AS d ON d.user_id = e.user_id AND d.day = g.day::date
    ),
    past AS (
        SELECT
            d.user_id, d.day,
            sum(d.requests) OVER (PARTITION BY d.user_id ORDER BY d.day) AS requests
        FROM used AS d
        WHERE d.day >= this_month
    ),
    forecast AS (
        SELECT
            e.user_id, e.requests, e.monthly_request_limit,
            (
                SELECT least(e.requests::float8 + round(max(t.requests)), 9e18)::bigint
                FROM to_come AS t WHERE t.user_id = e.user_id
            ) AS expected_requests,
            CASE
                WHEN e.requests >= e.monthly_request_limit THEN coalesce(
                    (
                        SELECT min(p.day) FROM past AS p
                        WHERE p.user_id = e.user_id AND p.requests >= e.monthly_request_limit::float8
                    ),
                    today
                )
                ELSE (
                    SELECT min(t.day) FROM to_come AS t
                    WHERE t.user_id = e.user_id AND e.requests::float8 + t.requests >= e.monthly_request_limit::float8
                )
            END AS reached_on
        FROM entitled AS e
    )
    SELECT
        f.user_id, f.requests, f.monthly_request_limit, f.expected_requests, f.reached_on,
        (
            SELECT p.tier FROM plans AS p
            WHERE p.monthly_request_limit IS NULL OR p.monthly_request_limit >= f.expected_requests
            ORDER BY p.price_cents ASC NULLS LAST, p.monthly_request_limit ASC NULLS LAST, p.tier
            LIMIT 1
        )
    FROM forecast AS f;
END
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

--! views/first_payments
-- The first payment of each customer that was not taken back, and its month (UTC): the customer's cohort.
CREATE VIEW first_payments AS
SELECT DISTINCT ON (p.user_id)
    p.user_id,
    p.paid_at,
    p.currency,
    date_trunc('month', p.paid_at AT TIME ZONE 'UTC')::date AS cohort
FROM payment_history AS p
WHERE p.paid_at IS NOT NULL
ORDER BY p.user_id ASC, p.paid_at ASC, p.currency ASC;

--! views/monthly_mrr_movements
-- The ledger of recurring revenue by calendar month (UTC). What is dated ahead of today does not count yet, as in
-- daily_mrr.
CREATE VIEW monthly_mrr_movements AS
SELECT
    m.id,
    m.user_id,
    m.kind,
    m.currency,
    m.amount_cents,
    m.before_cents,
    m.after_cents,
    m.tier_before,
    m.tier_after,
    date_trunc('month', m.occurred_at AT TIME ZONE 'UTC')::date AS month,
    CASE WHEN m.before_cents = 0 THEN 1 WHEN m.after_cents = 0 THEN -1 ELSE 0 END AS customers
FROM mrr_movements AS m
WHERE m.occurred_at < (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC';

--! views/v_api_usage_trends
-- The last 30 days (UTC), today included, with a row also for a day without requests, whose shares are NULL. Exact:
-- folded days plus what is not folded yet; a user who appears in both is counted once.
CREATE OR REPLACE VIEW v_api_usage_trends AS
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
    LEFT JOIN traffic_user_days AS known
        ON
            unfolded.day = known.day
            AND unfolded.user_id = known.user_id
            -- Says nothing new; without it the planner reads the days of years.
            AND known.day >= (now() AT TIME ZONE 'UTC')::date - 29
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

--! views/v_mrr_retention
-- How the recurring revenue of each calendar month (UTC) came to be, by currency and plan, and over all plans in the
-- rows of the tier "all"; the last month is as of now. A customer counts once a month, by what they paid at its start
-- and at its end, so who leaves and is back within a month has left nothing. The plan is the one they had at the start;
-- of those who were not paying then, the one they have at the end.
--
-- nrr_percent: what the customers of the start pay at the end, of what they paid at the start. grr_percent: the same,
-- where nobody counts with more than before. quick_ratio: what was gained (new, reactivation, expansion) over what was
-- lost (contraction, churn); NULL where nothing was lost.
CREATE VIEW v_mrr_retention AS
WITH by_customer AS (
    SELECT
        m.user_id,
        m.currency,
        m.month,
        (array_agg(m.before_cents ORDER BY m.id))[1] AS start_cents,
        sum(m.amount_cents) AS net_cents,
        (array_agg(m.tier_before ORDER BY m.id))[1] AS tier_at_start,
        (array_agg(m.tier_after ORDER BY m.id DESC))[1] AS tier_at_end,
        bool_or(m.kind = 'new') AS is_new
    FROM monthly_mrr_movements AS m
    GROUP BY m.user_id, m.currency, m.month
),

changed AS (
    SELECT
        c.currency,
        c.month,
        coalesce(c.tier_at_start, c.tier_at_end) AS tier,
        count(*) FILTER (WHERE c.start_cents > 0 AND c.start_cents + c.net_cents = 0) AS customers_lost,
        count(*) FILTER (WHERE c.start_cents = 0) AS customers_gained,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents = 0 AND c.is_new), 0) AS new_cents,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents = 0 AND NOT c.is_new), 0) AS reactivation_cents,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents > 0 AND c.net_cents > 0), 0) AS expansion_cents,
        coalesce(
            sum(c.net_cents) FILTER (WHERE c.start_cents > 0 AND c.net_cents < 0 AND c.start_cents + c.net_cents > 0), 0
        ) AS contraction_cents,
        coalesce(sum(c.net_cents) FILTER (WHERE c.start_cents > 0 AND c.start_cents + c.net_cents = 0), 0)
            AS churn_cents
    FROM by_customer AS c
    -- Whoever came and left within the month was there neither at its start nor at its end.
    WHERE c.start_cents > 0 OR c.start_cents + c.net_cents > 0
    GROUP BY c.currency, c.month, coalesce(c.tier_at_start, c.tier_at_end)
),

moved AS (
    SELECT
        m.currency,
        m.month,
        side.tier,
        sum(side.cents) AS cents,
        sum(side.sign) AS customers
    FROM monthly_mrr_movements AS m
    CROSS JOIN
        LATERAL (
            VALUES (m.tier_before, -m.before_cents, -1), (m.tier_after, m.after_cents, 1)
        ) AS side (tier, cents, sign)
    WHERE side.tier IS NOT NULL
    GROUP BY m.currency, m.month, side.tier
),

months AS (
    SELECT
        books.currency,
        books.tier,
        opens::date AS month
    FROM (
        SELECT
            moved.currency,
            moved.tier,
            min(moved.month) AS month
        FROM moved
        GROUP BY moved.currency, moved.tier
    ) AS books
    CROSS JOIN LATERAL generate_series(
        books.month::timestamp, date_trunc('month', now() AT TIME ZONE 'UTC'), interval '1 month'
    ) AS opens
),

opening AS (
    SELECT
        months.currency,
        months.tier,
        months.month,
        coalesce(sum(moved.cents) OVER before, 0) AS start_cents,
        coalesce(sum(moved.customers) OVER before, 0) AS customers_at_start
    FROM months
    LEFT JOIN moved ON months.currency = moved.currency AND months.tier = moved.tier AND months.month = moved.month
    WINDOW before AS (
        PARTITION BY months.currency, months.tier
        ORDER BY months.month
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

summed AS (
    SELECT
        o.month,
        o.currency,
        coalesce(o.tier, 'all') AS tier,
        sum(o.customers_at_start)::bigint AS customers_at_start,
        coalesce(sum(c.customers_lost), 0)::bigint AS customers_lost,
        coalesce(sum(c.customers_gained), 0)::bigint AS customers_gained,
        sum(o.start_cents)::bigint AS start_cents,
        coalesce(sum(c.new_cents), 0)::bigint AS new_cents,
        coalesce(sum(c.reactivation_cents), 0)::bigint AS reactivation_cents,
        coalesce(sum(c.expansion_cents), 0)::bigint AS expansion_cents,
        coalesce(sum(c.contraction_cents), 0)::bigint AS contraction_cents,
        coalesce(sum(c.churn_cents), 0)::bigint AS churn_cents
    FROM opening AS o
    LEFT JOIN changed AS c ON o.currency = c.currency AND o.tier = c.tier AND o.month = c.month
    GROUP BY GROUPING SETS ((o.month, o.currency, o.tier), (o.month, o.currency))
)

SELECT
    s.month,
    s.currency,
    s.tier,
    s.customers_at_start,
    s.customers_lost,
    s.customers_gained,
    s.start_cents,
    s.new_cents,
    s.reactivation_cents,
    s.expansion_cents,
    s.contraction_cents,
    s.churn_cents,
    s.start_cents + s.new_cents + s.reactivation_cents + s.expansion_cents + s.contraction_cents + s.churn_cents
        AS end_cents,
    round(
        100.0 * (s.start_cents + s.expansion_cents + s.contraction_cents + s.churn_cents) / nullif(s.start_cents, 0), 2
    ) AS nrr_percent,
    round(100.0 * (s.start_cents + s.contraction_cents + s.churn_cents) / nullif(s.start_cents, 0), 2) AS grr_percent,
    round(
        (s.new_cents + s.reactivation_cents + s.expansion_cents)::numeric
        / nullif(-s.contraction_cents - s.churn_cents, 0),
        2
    ) AS quick_ratio,
    concat_ws(' ', to_char(s.month, 'YYYY-MM'), s.currency, s.tier) AS id
FROM summed AS s;

--! views/v_lifetime_value
-- What a customer is worth by currency and plan, and over all plans in the rows of the tier "all": expected and as
-- realised. Before costs, without taxes.
--
-- ltv_cents is what a customer pays a month, divided by the share that leaves a month, over the last 12 whole months
-- (UTC): arpu_cents / churn_percent. The interval is that of the share, for 95 %: each month of each customer is a
-- trial that they leave with the same chance, and its bounds are E. B. Wilson's (Journal of the American Statistical
-- Association 22, 1927, p. 209-212). Nobody left: no value and no upper bound. The formula is Stripe's, see
-- https://docs.stripe.com/billing/subscriptions/analytics
--
-- realised_cents is what came in so far of those who ever paid in the currency, less refunds and disputes, for one of
-- them; left_realised_cents the same of those who pay no more, whose value will not grow. Their plan is the last they
-- paid for, "free" where they never had a paid one.
CREATE VIEW v_lifetime_value AS
WITH observed AS (
    SELECT
        r.currency,
        r.tier,
        sum(r.customers_at_start) AS customer_months,
        sum(r.customers_lost) AS customers_lost,
        sum(r.start_cents) AS cents
    FROM v_mrr_retention AS r
    WHERE
        r.month >= (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 months')::date
        AND r.month < date_trunc('month', now() AT TIME ZONE 'UTC')::date
    GROUP BY r.currency, r.tier
),

rates AS (
    SELECT
        o.currency,
        o.tier,
        o.customer_months,
        o.customers_lost,
        o.cents / o.customer_months AS arpu_cents,
        o.customers_lost / o.customer_months AS churn,
        (
            o.customers_lost + 1.96 ^ 2 / 2
            - 1.96 * sqrt(o.customers_lost * (o.customer_months - o.customers_lost) / o.customer_months + 1.96 ^ 2 / 4)
        ) / (o.customer_months + 1.96 ^ 2) AS low,
        (
            o.customers_lost + 1.96 ^ 2 / 2
            + 1.96 * sqrt(o.customers_lost * (o.customer_months - o.customers_lost) / o.customer_months + 1.96 ^ 2 / 4)
        ) / (o.customer_months + 1.96 ^ 2) AS high
    FROM observed AS o
    WHERE o.customer_months > 0
),

plans_paid AS (
    SELECT DISTINCT ON (m.user_id)
        m.user_id,
        coalesce(m.tier_after, m.tier_before) AS tier,
        m.after_cents > 0 AS is_paying
    FROM mrr_movements AS m
    ORDER BY m.user_id ASC, m.id DESC
),

came_in AS (
    SELECT
        p.user_id,
        p.currency,
        sum(p.amount_cents - p.refunded_cents - p.disputed_cents) AS cents
    FROM payment_history AS p
    WHERE p.paid_at IS NOT NULL
    GROUP BY p.user_id, p.currency
),

realised AS (
    SELECT
        came_in.currency,
        coalesce(by_tier.tier, 'all') AS tier,
        count(*) AS customers,
        avg(came_in.cents) AS cents,
        count(*) FILTER (WHERE plans_paid.is_paying IS NOT TRUE) AS customers_left,
        avg(came_in.cents) FILTER (WHERE plans_paid.is_paying IS NOT TRUE) AS cents_of_left
    FROM came_in
    LEFT JOIN plans_paid ON came_in.user_id = plans_paid.user_id
    CROSS JOIN LATERAL (SELECT coalesce(plans_paid.tier, 'free') AS tier) AS by_tier
    GROUP BY GROUPING SETS ((came_in.currency, by_tier.tier), (came_in.currency))
)

SELECT
    coalesce(rates.currency, realised.currency) AS currency,
    coalesce(rates.tier, realised.tier) AS tier,
    coalesce(rates.customer_months, 0)::bigint AS customer_months,
    coalesce(rates.customers_lost, 0)::bigint AS customers_lost,
    round(rates.arpu_cents)::bigint AS arpu_cents,
    round(100 * rates.churn, 2) AS churn_percent,
    round(rates.arpu_cents / nullif(rates.churn, 0))::bigint AS ltv_cents,
    round(rates.arpu_cents / rates.high)::bigint AS ltv_low_cents,
    CASE WHEN rates.customers_lost > 0 THEN round(rates.arpu_cents / rates.low)::bigint END AS ltv_high_cents,
    coalesce(realised.customers, 0) AS realised_customers,
    round(realised.cents)::bigint AS realised_cents,
    coalesce(realised.customers_left, 0) AS left_customers,
    round(realised.cents_of_left)::bigint AS left_realised_cents,
    concat_ws(' ', coalesce(rates.currency, realised.currency), coalesce(rates.tier, realised.tier)) AS id
FROM rates
FULL JOIN realised ON rates.currency = realised.currency AND rates.tier = realised.tier;

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

--! views/v_renewals
-- What comes of itself of subscriptions that are live and paid for: the renewals of the next 30 days, the first charges
-- after a trial, and the cancellations that are booked, whenever they are. amount_cents is what a period costs, of a
-- cancellation what is lost a month; before taxes, credit and usage. Of a price only a month's is known, so that of
-- other periods it may be rounded. Periods shorter than 30 days come more than once.
CREATE VIEW v_renewals AS
WITH paid AS (
    SELECT
        s.id,
        s.user_id,
        s.tier,
        s.status,
        s.price_cents,
        s.currency,
        s.collection_paused,
        s.current_period_end AT TIME ZONE 'UTC' AS period_end,
        s.trial_end AT TIME ZONE 'UTC' AS trial_end,
        coalesce(s.cancel_at, CASE WHEN s.cancel_at_period_end THEN s.current_period_end END) AT TIME ZONE 'UTC'
            AS ends,
        one.months,
        one.step,
        one.most,
        -- Of a quarterly price the interval is month. A trial is no period of the price.
        CASE
            WHEN s.status = 'trialing' THEN 1
            ELSE greatest(
                1,
                round(
                    extract(EPOCH FROM s.current_period_end - s.current_period_start)
                    / 86400
                    / (one.months * 365 / 12.0)
                )::int
            )
        END AS intervals
    FROM subscriptions AS s
    INNER JOIN (
        VALUES
        ('day', 12 / 365.0, interval '1 day', 31),
        ('week', 84 / 365.0, interval '7 days', 5),
        ('month', 1.0, interval '1 month', 2),
        ('year', 12.0, interval '1 year', 1)
    ) AS one ("interval", months, step, most) ON s."interval" = one."interval"
    WHERE
        s.status IN ('active', 'past_due', 'trialing') AND s.tier <> 'free' AND s.price_cents > 0
        AND NOT s.is_duplicate
),

due AS (
    SELECT
        p.id,
        p.user_id,
        p.tier,
        CASE WHEN p.status = 'trialing' AND n = 0 THEN 'trial_end' ELSE 'renewal' END AS kind,
        dated.at,
        round(p.price_cents * p.months * p.intervals)::bigint AS amount_cents,
        p.currency
    FROM paid AS p
    CROSS JOIN generate_series(0, p.most) AS n
    CROSS JOIN
        LATERAL (
            SELECT
                CASE WHEN p.status = 'trialing' THEN coalesce(p.trial_end, p.period_end) ELSE p.period_end END
                + n * p.intervals * p.step AS at
        ) AS dated
    WHERE
        p.collection_paused IS NULL AND (p.ends IS NULL OR dated.at < p.ends)
        AND dated.at >= now() AT TIME ZONE 'UTC' AND dated.at < now() AT TIME ZONE 'UTC' + interval '30 days'
    UNION ALL
    SELECT
        p.id,
        p.user_id,
        p.tier,
        'cancellation' AS kind,
        p.ends AS at,
        p.price_cents AS amount_cents,
        p.currency
    FROM paid AS p
    WHERE p.ends IS NOT NULL
)

SELECT
    due.id AS subscription_id,
    due.user_id,
    u.email,
    due.tier,
    due.kind,
    due.at AT TIME ZONE 'UTC' AS due_at,
    due.amount_cents,
    due.currency,
    concat_ws(' ', due.id, due.kind, to_char(due.at, 'YYYY-MM-DD')) AS id
FROM due
INNER JOIN users AS u ON due.user_id = u.id;

--! views/v_forecast
-- What the company may expect. Renewals and first charges after a trial: their number and money in the next 30 days,
-- by currency. Cancellations that are booked: their number, and the MRR that goes with them. Requests: how many in the
-- next 30 days, and between which bounds with 80 % certainty, by forecast_requests(); NULL before the first.
CREATE VIEW v_forecast AS
SELECT
    r.kind AS figure,
    count(*) AS number,
    NULL::bigint AS low,
    NULL::bigint AS high,
    least(sum(r.amount_cents), 9223372036854775807)::bigint AS amount_cents,
    r.currency,
    concat_ws(' ', r.kind, r.currency) AS id
FROM v_renewals AS r
GROUP BY r.kind, r.currency
UNION ALL
SELECT
    'requests' AS figure,
    f.expected_requests AS number,
    f.low_requests AS low,
    f.high_requests AS high,
    NULL AS amount_cents,
    NULL AS currency,
    'requests' AS id
FROM forecast_requests() AS f;

--! views/v_retention
-- What is left of those who first paid in a month, at the end of that month and of each later one (UTC); the last
-- month is as of now. A cohort is the month of a customer's first payment, age_months the months since. Customers
-- count while they have MRR: whoever paid once and has none is in cohort_customers, the size of the cohort by the
-- currency of the first payment, and never in customers. The MRR of who had not paid by the end of a month is in a row
-- without cohort and age, so that the rows of a month and currency add up to the MRR of its last day.
--
-- Read in one pass over payments and one over the ledger, whose amounts are added up by cohort and month before months
-- are strung together; the number of customers times months never arises.
CREATE VIEW v_retention AS
WITH paid AS MATERIALIZED (
    SELECT
        f.user_id,
        f.cohort,
        f.currency
    FROM first_payments AS f
),

booked AS MATERIALIZED (
    SELECT
        paid.cohort,
        m.month,
        m.currency,
        sum(m.amount_cents) AS amount_cents,
        sum(m.customers) AS customers
    FROM monthly_mrr_movements AS m
    LEFT JOIN paid ON m.user_id = paid.user_id
    GROUP BY paid.cohort, m.month, m.currency
),

moved AS MATERIALIZED (
    SELECT
        legs.cohort,
        legs.month,
        legs.currency,
        sum(legs.amount_cents) AS amount_cents,
        sum(legs.customers) AS customers
    FROM (
        SELECT
            b.cohort,
            greatest(b.month, b.cohort) AS month,
            b.currency,
            b.amount_cents,
            b.customers
        FROM booked AS b
        UNION ALL
        -- Until the month of the first payment it is nobody's cohort.
        SELECT
            NULL AS cohort,
            side.month,
            b.currency,
            side.sign * b.amount_cents AS amount_cents,
            side.sign * b.customers AS customers
        FROM booked AS b
        CROSS JOIN LATERAL (VALUES (b.month, 1), (b.cohort, -1)) AS side (month, sign)
        WHERE b.month < b.cohort
    ) AS legs
    GROUP BY legs.cohort, legs.month, legs.currency
),

sizes AS MATERIALIZED (
    SELECT
        paid.cohort,
        paid.currency,
        count(*) AS customers
    FROM paid
    GROUP BY paid.cohort, paid.currency
),

books AS (
    SELECT
        begun.cohort,
        begun.currency,
        min(begun.month) AS month
    FROM (
        SELECT
            moved.cohort,
            moved.currency,
            coalesce(moved.cohort, moved.month) AS month
        FROM moved
        UNION ALL
        SELECT
            sizes.cohort,
            sizes.currency,
            sizes.cohort AS month
        FROM sizes
    ) AS begun
    GROUP BY begun.cohort, begun.currency
),

months AS (
    SELECT
        books.cohort,
        books.currency,
        opens::date AS month
    FROM books
    CROSS JOIN LATERAL generate_series(
        books.month::timestamp, date_trunc('month', now() AT TIME ZONE 'UTC'), interval '1 month'
    ) AS opens
),

closing AS (
    SELECT
        months.cohort,
        months.currency,
        months.month,
        coalesce(sum(moved.customers) OVER book, 0)::bigint AS customers,
        coalesce(sum(moved.amount_cents) OVER book, 0)::bigint AS mrr_cents
    FROM months
    LEFT JOIN moved
        ON
            months.cohort IS NOT DISTINCT FROM moved.cohort
            AND months.currency = moved.currency AND months.month = moved.month
    WINDOW book AS (PARTITION BY months.cohort, months.currency ORDER BY months.month)
)

SELECT
    closing.cohort,
    (
        12 * (extract(YEAR FROM closing.month) - extract(YEAR FROM closing.cohort))
        + extract(MONTH FROM closing.month) - extract(MONTH FROM closing.cohort)
    )::int AS age_months,
    closing.customers,
    closing.mrr_cents,
    closing.currency,
    closing.month,
    CASE WHEN closing.cohort IS NOT NULL THEN coalesce(sizes.customers, 0) END AS cohort_customers,
    concat_ws(' ', to_char(closing.cohort, 'YYYY-MM'), to_char(closing.month, 'YYYY-MM'), closing.currency) AS id
FROM closing
LEFT JOIN sizes ON closing.cohort = sizes.cohort AND closing.currency = sizes.currency
WHERE closing.cohort IS NOT NULL OR closing.customers <> 0 OR closing.mrr_cents <> 0;

--! views/v_retention_customers
-- The customers behind v_retention: each customer's MRR at the end of each month (UTC) since they first had any, 0 once
-- they left. Made to be read by month, as for a year of many customers it is a long list: a month takes one pass over
-- the ledger.
CREATE VIEW v_retention_customers AS
WITH months AS (
    SELECT opens::date AS month
    FROM generate_series(
        date_trunc('month', (SELECT min(m.occurred_at) FROM mrr_movements AS m) AT TIME ZONE 'UTC'),
        date_trunc('month', now() AT TIME ZONE 'UTC'),
        interval '1 month'
    ) AS opens
),

closing AS (
    SELECT
        months.month,
        m.user_id,
        m.currency,
        sum(m.amount_cents)::bigint AS mrr_cents
    FROM months
    INNER JOIN monthly_mrr_movements AS m ON months.month >= m.month
    GROUP BY months.month, m.user_id, m.currency
)

SELECT
    closing.user_id,
    u.email,
    f.cohort,
    (
        12 * (extract(YEAR FROM closing.month) - extract(YEAR FROM f.cohort))
        + extract(MONTH FROM closing.month) - extract(MONTH FROM f.cohort)
    )::int AS age_months,
    closing.mrr_cents,
    closing.currency,
    closing.month,
    closing.mrr_cents > 0 AS is_paying,
    concat_ws(' ', closing.user_id, to_char(closing.month, 'YYYY-MM'), closing.currency) AS id
FROM closing
LEFT JOIN users AS u ON closing.user_id = u.id
LEFT JOIN first_payments AS f ON closing.user_id = f.user_id AND closing.month >= f.cohort;

--! views/v_users_near_limit
-- Customers who used 80 % or more of this calendar month's limit (UTC), by what counts against it as in quota_usage:
-- what is folded plus what is queued, and what was corrected. The limit is that of the plan whose limits hold, with the
-- extra quota that is in force for all keys. A limit of zero is used up by the first request. Unlimited plans are never
-- near.
--
-- Few users come near, so the smallest limit there is picks them from the index on (month, total_requests) before
-- anything is joined; whoever has queued or corrected requests is looked at as well.
CREATE OR REPLACE VIEW v_users_near_limit AS
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

apart AS MATERIALIZED (
    SELECT
        d.user_id,
        sum(d.requests)::bigint AS requests
    FROM (
        SELECT
            q.user_id,
            q.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
                WHEN 'served' THEN q.throttled_requests + q.server_errors
                ELSE 0
            END AS requests
        FROM api_usage_deltas AS q
        WHERE q.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        UNION ALL
        SELECT
            c.user_id,
            c.requests
        FROM usage_corrections AS c
        WHERE c.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
    ) AS d
    GROUP BY d.user_id
),

usage AS (
    SELECT
        t.user_id,
        t.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
            WHEN 'served' THEN t.throttled_requests + t.server_errors
            ELSE 0
        END AS requests
    FROM monthly_usage_totals AS t
    WHERE
        t.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        AND t.total_requests >= (SELECT least.requests FROM least)
        -- Says nothing new; without an upper bound the planner expects a third of the table and reads all of it.
        AND t.total_requests <= 9223372036854775807
        AND NOT EXISTS (
            SELECT
            FROM apart AS q
            WHERE q.user_id = t.user_id
        )
    UNION ALL
    -- A subquery and no join, for which the planner would read the totals of everybody.
    SELECT
        q.user_id,
        q.requests + coalesce(
            (
                SELECT
                    t.total_requests - CASE (SELECT r.counts FROM quota_rule AS r)
                        WHEN 'served' THEN t.throttled_requests + t.server_errors
                        ELSE 0
                    END
                FROM monthly_usage_totals AS t
                WHERE t.user_id = q.user_id AND t.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            ), 0
        ) AS requests
    FROM apart AS q
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
INNER JOIN current_limits AS e ON usage.user_id = e.user_id
-- Looked up for the few who are left; without OFFSET the planner would read all of them before.
INNER JOIN LATERAL (
    SELECT c.email
    FROM users AS c
    WHERE c.id = e.user_id AND c.status <> 'deleted'
    OFFSET 0 -- noqa: AM09
) AS u ON true
WHERE usage.requests >= (SELECT least.requests FROM least) AND usage.requests >= 0.8 * e.monthly_request_limit;
