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
LEFT JOIN last_job_runs AS r ON compared.job = r.job AND r.kind = 'did_not_fail';
