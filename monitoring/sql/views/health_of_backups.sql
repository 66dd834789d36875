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
