INSERT INTO health_checks (check_name, title, unit, lower_is_worse, warning_at, critical_at, remediation)
VALUES
(
    'drift', 'Differences from what the migrations define', 'differences', false, 0, NULL,
    'manage.py database verify lists all: undo what was done by hand, migrate what is missing, then run the verify job.'
);

-- How each scheduled job stands: when it last succeeded, whether its last run failed, whether a slot passed unused. A
-- run that found that the job cannot be done here is skipped, with 0 rows; a slot that met another run has none.
CREATE OR REPLACE VIEW job_health AS
SELECT
    s.job,
    s.enabled,
    s.next_due_at,
    success.finished_at AS last_success_at,
    latest.finished_at AS last_run_at,
    latest.error AS last_error,
    coalesce(latest.status = 'failed', false) AS has_failed,
    s.enabled AND coalesce(s.next_due_at + s.grace_seconds * interval '1 second' < now(), false) AS is_overdue
FROM job_schedules AS s
LEFT JOIN LATERAL (
    SELECT
        r.status,
        r.finished_at,
        r.error
    FROM job_runs AS r
    WHERE
        r.job = s.job
        AND (r.status IN ('succeeded', 'failed') OR (r.status = 'skipped' AND r.rows_affected IS NOT NULL))
    ORDER BY r.started_at DESC
    LIMIT 1
) AS latest ON true
LEFT JOIN LATERAL (
    SELECT max(r.finished_at) AS finished_at
    FROM job_runs AS r
    WHERE r.job = s.job AND r.status = 'succeeded'
) AS success ON true;

-- Whether the database still is what the migrations define, as the job `verify` last found. Never compared, or by a
-- role that may not, a value is NULL: unknown.
CREATE VIEW health_of_schema AS
SELECT
    'drift' AS check_name,
    CASE r.status WHEN 'succeeded' THEN r.rows_affected END::numeric AS value,
    concat_ws(
        ' ',
        CASE
            WHEN r.status IS NULL THEN 'Never compared yet.'
            WHEN r.status = 'skipped' THEN format('Cannot be compared: %s.', r.detail ->> 'reason')
            WHEN r.rows_affected = 0 THEN format('None at %s.', date_trunc('second', r.finished_at))
            ELSE (
                SELECT
                    string_agg(d.difference, '; ' ORDER BY d.place)
                    || CASE WHEN r.rows_affected > 5 THEN format('; and %s more.', r.rows_affected - 5) ELSE '.' END
                FROM jsonb_array_elements_text(r.detail -> 'differences') WITH ORDINALITY AS d (difference, place)
                WHERE d.place <= 5
            )
        END,
        CASE
            WHEN r.finished_at < now() - interval '50 hours'
                THEN format('That was on %s: the verify job has not come to an end since.', r.finished_at::date)
        END
    ) AS message
FROM (VALUES ('verify')) AS compared (job)
LEFT JOIN LATERAL (
    SELECT
        j.status,
        j.rows_affected,
        j.detail,
        j.finished_at
    FROM job_runs AS j
    -- A slot that met a run still going on is skipped too, and has no rows.
    WHERE j.job = compared.job AND j.status IN ('succeeded', 'skipped') AND j.rows_affected IS NOT NULL
    ORDER BY j.started_at DESC
    LIMIT 1
) AS r ON true;

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
) AS m ON c.check_name = m.check_name
WHERE c.is_enabled;
