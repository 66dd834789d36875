INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation)
VALUES
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
    'Read the error, mend its cause (space, rights, client older than the server), then run it again.'
);

-- Checks on backups and restore drills. Without any yet a value is NULL: unknown.
CREATE VIEW health_of_backups AS
SELECT
    'backup_age' AS check_name,
    round(extract(EPOCH FROM now() - max(b.finished_at)) / 3600, 1) AS value,
    coalesce('The last good one: ' || date_trunc('second', max(b.finished_at)) || '.', 'There is none.') AS message
FROM backup_runs AS b
WHERE b.kind = 'backup' AND b.status = 'succeeded'
UNION ALL
SELECT
    'restore_drill_age' AS check_name,
    round(extract(EPOCH FROM now() - max(b.finished_at)) / 86400, 1) AS value,
    coalesce('The last good one: ' || date_trunc('second', max(b.finished_at)) || '.', 'There is none.') AS message
FROM backup_runs AS b
WHERE b.kind = 'drill' AND b.status = 'succeeded'
UNION ALL
SELECT
    'failed_backups' AS check_name,
    count(*)::numeric AS value,
    coalesce(string_agg(format('The last %s failed: %s', f.kind, left(f.error, 300)), ' '), 'None failed.') AS message
FROM (
    SELECT DISTINCT ON (b.kind)
        b.kind,
        b.status,
        b.error
    FROM backup_runs AS b
    ORDER BY b.kind ASC, b.finished_at DESC
) AS f
WHERE f.status = 'failed';

-- Every check with its value, its thresholds and what to do. A value strictly beyond a threshold (below it, where lower
-- is worse) reaches it. A check that cannot be measured, or that this role may not see, is unknown and never ok.
CREATE OR REPLACE VIEW v_system_health AS
SELECT
    c.check_name,
    CASE
        WHEN m.value IS NULL THEN 'unknown'
        WHEN (c.lower_is_worse AND m.value < c.critical_at) OR (NOT c.lower_is_worse AND m.value > c.critical_at)
            THEN 'critical'
        WHEN (c.lower_is_worse AND m.value < c.warning_at) OR (NOT c.lower_is_worse AND m.value > c.warning_at)
            THEN 'warning'
        ELSE 'ok'
    END AS status,
    m.value,
    c.warning_at,
    c.critical_at,
    m.message,
    c.remediation,
    c.title,
    c.unit,
    c.lower_is_worse
FROM health_checks AS c
LEFT JOIN (
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
        i.check_name,
        i.value,
        i.message
    FROM health_of_security AS i
) AS m ON c.check_name = m.check_name
WHERE c.is_enabled;

CREATE INDEX traffic_hours_api_key ON traffic_hours (api_key_id, hour) INCLUDE (requests);

-- What each key was used for. Exact: folded requests, plus from api_usage what is not folded yet; usage_count and
-- last_used_at include what waits in the counting queue.
--
-- A key's folded hours are looked up by key, after the LIMIT of a page, which takes that this view has no WITH: all of
-- a hundred thousand keys at once take a second or two, fifty of them, or one customer's, a few milliseconds.
CREATE OR REPLACE VIEW v_api_key_usage_summary AS
SELECT
    k.id AS api_key_id,
    k.user_id,
    k.key_prefix,
    k.environment,
    (
        SELECT coalesce(sum(h.requests), 0)::bigint + coalesce(recent.requests, 0)
        FROM traffic_hours AS h
        WHERE h.api_key_id = k.id AND h.hour >= date_trunc('hour', now() - interval '23 hours', 'UTC')
    ) AS requests_last_24h,
    coalesce(folded.requests, 0) + coalesce(unfolded.requests, 0) AS requests_this_month,
    k.usage_count + coalesce(queued.requests, 0) AS usage_count,
    greatest(k.last_used_at, queued.last_request_at) AS last_used_at,
    k.revoked_at,
    k.expires_at,
    k.name
FROM api_keys AS k
LEFT JOIN traffic_key_months AS folded
    ON k.id = folded.api_key_id AND folded.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
LEFT JOIN (
    SELECT
        r.api_key_id,
        count(*) AS requests
    FROM recent_requests AS r
    WHERE r.api_key_id IS NOT NULL
    GROUP BY r.api_key_id
) AS recent ON k.id = recent.api_key_id
LEFT JOIN (
    SELECT
        u.api_key_id,
        count(*) AS requests
    FROM api_usage AS u
    WHERE
        u.id > (SELECT p.folded_to FROM traffic_progress AS p)
        -- Says nothing new; without it the planner expects a third of all requests and reads all of them.
        AND u.id <= 9223372036854775807
        AND u.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
        AND u.created_at < (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
        AND u.api_key_id IS NOT NULL
    GROUP BY u.api_key_id
) AS unfolded ON k.id = unfolded.api_key_id
LEFT JOIN (
    SELECT
        d.api_key_id,
        sum(d.total_requests)::bigint AS requests,
        max(d.last_request_at) AS last_request_at
    FROM api_usage_deltas AS d
    WHERE d.api_key_id IS NOT NULL
    GROUP BY d.api_key_id
) AS queued ON k.id = queued.api_key_id;
