-- The check on rows whose month has no partition.
CREATE VIEW health_of_strays AS
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
) AS audit;
