-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/health_checks
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('unrepaired_differences', 'Differences from Stripe that cannot be repaired', 'differences', false, 0, NULL, 'Correct at Stripe, or here, what the note of each difference says, then repair it.');
INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation) VALUES ('request_id_conflicts', 'Request ids that came back with other requests', 'ids', false, 0, NULL, 'Let the API server make ids of its own, a UUID each: api_usage_request_ids names customers and ids.');
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
    'unrepaired_differences', 'Differences from Stripe that cannot be repaired', 'differences', false, 0, NULL,
    'Correct at Stripe, or here, what the note of each difference says, then repair it.'
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
    'request_id_conflicts', 'Request ids that came back with other requests', 'ids', false, 0, NULL,
    'Let the API server make ids of its own, a UUID each: api_usage_request_ids names customers and ids.'
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

--! views/health_of_billing
-- Checks on customers, subscriptions and Stripe's events: a value for each and what it means in words.
CREATE OR REPLACE VIEW health_of_billing AS
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
WHERE d.status = 'open' AND d.note IS NOT NULL
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

--! views/health_of_requests
-- Checks on requests to the API, their partitions and their counting.
CREATE OR REPLACE VIEW health_of_requests AS
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
) AS last
UNION ALL
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
