-- What the job `verify` last found to differ from the definitions, a row each, with the statements that mend it.
CREATE VIEW v_schema_differences AS
SELECT
    concat_ws(' ', d.found ->> 'kind', d.found ->> 'name') AS id,
    d.found ->> 'problem' AS problem,
    d.found ->> 'kind' AS kind,
    d.found ->> 'name' AS name,
    d.found ->> 'detail' AS detail,
    d.found ->> 'sql' AS sql,
    r.finished_at AS found_at
FROM last_job_runs AS r
CROSS JOIN LATERAL jsonb_array_elements(coalesce(r.detail -> 'found', '[]')) AS d (found)
WHERE r.job = 'verify' AND r.kind = 'did_not_fail';
