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
