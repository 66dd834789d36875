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
