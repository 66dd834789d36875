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
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('stray_months', 'health_of_requests', 'judged_health', 'v_alerts', 'v_critical_alerts', 'v_system_health') AND a.grantee <> c.relowner;

DROP VIEW v_system_health;
DROP VIEW v_critical_alerts;
DROP VIEW v_alerts;
DROP VIEW judged_health;
DROP VIEW health_of_requests;
DROP VIEW stray_months;

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

-- Gone.

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
