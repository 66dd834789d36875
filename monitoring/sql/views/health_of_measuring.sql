-- For how many minutes evaluations of the alerts could not measure some check.
CREATE VIEW health_of_measuring AS
SELECT
    'unmeasured_checks' AS check_name,
    coalesce(round(max(extract(EPOCH FROM clock_timestamp() - u.first_at) / 60), 2), 0) AS value,
    NULL AS message
FROM unmeasured_checks AS u;
