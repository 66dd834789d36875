-- Every enabled check, measured and judged: a value strictly beyond a threshold (below it, where lower is worse)
-- reaches it. A check without a value is unknown and never ok; `not_measured` says that it could not be had, as when
-- a table is locked, and the message why. The check unmeasured_checks says it of all of them: for how many minutes by
-- what evaluations of the alerts have noted, and as a warning from the first moment on.
--
-- Each view is read apart and may wait for a lock for a second. With each that gave up the next may wait half as long,
-- so that all of them together wait for two; views that come after three seconds are not read at all.
CREATE FUNCTION system_health()
RETURNS TABLE (
    check_name text,
    status text,
    value numeric,
    warning_at numeric,
    critical_at numeric,
    message text,
    remediation text,
    title text,
    unit text,
    lower_is_worse boolean,
    not_measured boolean
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
    ends_at CONSTANT timestamptz := clock_timestamp() + interval '3 seconds';
    patience int := check_patience();
    part record;
    part_rows jsonb;
    problem text;
    no_thresholds text;
    checks jsonb;
    measured jsonb := '[]';
    problems jsonb := '{}';
    unmeasured text;
BEGIN
    SELECT r.rows, r.problem INTO checks, no_thresholds FROM rows_apart('enabled_checks', patience) AS r;
    FOR part IN
        SELECT k.measured_by
        FROM known_checks() AS k
        LEFT JOIN jsonb_to_recordset(checks) AS c (check_name text) ON k.check_name = c.check_name
        WHERE checks IS NULL OR c.check_name IS NOT NULL
        GROUP BY k.measured_by
        ORDER BY min(k.place)
    LOOP
        IF clock_timestamp() > ends_at THEN
            problem := 'The time for it was used up by other checks.';
        ELSE
            SELECT r.rows, r.problem INTO part_rows, problem FROM rows_apart(part.measured_by, patience) AS r;
            measured := measured || coalesce(part_rows, '[]');
        END IF;
        IF problem IS NOT NULL THEN
            patience := patience / 2;
            problems := problems || jsonb_build_object(part.measured_by, problem);
        END IF;
    END LOOP;

    SELECT string_agg(format('%s: %s', p.names, p.problem), ' ' ORDER BY p.names)
    INTO unmeasured
    FROM (
        SELECT
            coalesce(problems ->> k.measured_by, 'Its view does not name it.') AS problem,
            string_agg(k.check_name, ', ' ORDER BY k.place) AS names
        FROM known_checks() AS k
        LEFT JOIN jsonb_to_recordset(checks) AS c (check_name text) ON k.check_name = c.check_name
        LEFT JOIN jsonb_to_recordset(measured) AS m (check_name text) ON k.check_name = m.check_name
        WHERE m.check_name IS NULL AND (checks IS NULL OR c.check_name IS NOT NULL)
        GROUP BY problem
    ) AS p;
    unmeasured := concat_ws(' ', unmeasured, 'thresholds: ' || no_thresholds);

    RETURN QUERY
    WITH judged AS (
        SELECT
            coalesce(k.check_name, c.check_name) AS check_name,
            k.measured_by,
            -- One that this release does not know belongs to another.
            k.check_name IS NOT NULL AND m.check_name IS NULL AS not_measured,
            CASE
                WHEN k.check_name IS DISTINCT FROM 'unmeasured_checks' THEN m.value
                WHEN unmeasured = '' THEN 0
                ELSE greatest(m.value, 0.01)
            END AS value,
            CASE k.check_name
                WHEN 'unmeasured_checks' THEN coalesce(nullif(unmeasured, ''), 'Every check is measured.')
                ELSE CASE WHEN k.check_name IS NULL THEN 'Nothing measures it.' ELSE m.message END
            END AS message,
            -- Without its thresholds it still has to speak for those of the others.
            CASE WHEN checks IS NULL AND k.check_name = 'unmeasured_checks' THEN 0 ELSE c.warning_at END AS warning_at,
            CASE WHEN checks IS NULL AND k.check_name = 'unmeasured_checks' THEN 15 ELSE c.critical_at END
            AS critical_at,
            coalesce(c.lower_is_worse, false) AS lower_is_worse,
            c.remediation,
            c.title,
            c.unit
        FROM known_checks() AS k
        FULL JOIN jsonb_to_recordset(checks) AS c (
            check_name text, warning_at numeric, critical_at numeric, remediation text, title text, unit text,
            lower_is_worse boolean
        ) ON k.check_name = c.check_name
        LEFT JOIN jsonb_to_recordset(measured) AS m (check_name text, value numeric, message text)
            ON k.check_name = m.check_name
        WHERE checks IS NULL OR c.check_name IS NOT NULL
    )

    SELECT
        j.check_name,
        CASE
            WHEN j.value IS NULL OR (checks IS NULL AND j.check_name <> 'unmeasured_checks') THEN 'unknown'
            WHEN (j.lower_is_worse AND j.value < j.critical_at) OR (NOT j.lower_is_worse AND j.value > j.critical_at)
                THEN 'critical'
            WHEN (j.lower_is_worse AND j.value < j.warning_at) OR (NOT j.lower_is_worse AND j.value > j.warning_at)
                THEN 'warning'
            ELSE 'ok'
        END,
        j.value,
        j.warning_at,
        j.critical_at,
        concat_ws(
            ' ',
            CASE
                WHEN j.not_measured AND j.check_name <> 'unmeasured_checks' THEN
                    'Cannot be measured: ' || coalesce(problems ->> j.measured_by, 'its view does not name it.')
            END,
            j.message,
            CASE WHEN j.check_name <> 'unmeasured_checks' THEN 'Cannot be judged: ' || no_thresholds END
        ),
        coalesce(j.remediation, 'Find the session that holds the lock: SELECT * FROM locked_tables(). End it.'),
        coalesce(j.title, initcap(replace(j.check_name, '_', ' '))),
        coalesce(j.unit, ''),
        j.lower_is_worse,
        j.not_measured OR (checks IS NULL AND j.check_name <> 'unmeasured_checks')
    FROM judged AS j;
END
$$;
