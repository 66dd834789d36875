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
