-- Checks on attempts to get in: the source that failed most within the last hour.
CREATE VIEW health_of_security AS
SELECT
    'authentication_failures' AS check_name,
    coalesce(max(f.failures), 0)::numeric AS value,
    coalesce(
        'Most: ' || string_agg(
            format('%s from %s (%s)', f.failures, f.source, replace(f.kind, '_', ' ')), ', '
            ORDER BY f.failures DESC, f.source ASC
        ) || '.',
        'Nobody failed to prove an identity in the last hour.'
    ) AS message
FROM (
    SELECT
        a.kind,
        a.source,
        sum(a.failures) AS failures
    FROM authentication_failures AS a
    WHERE a.window_start > now() - interval '1 hour'
    GROUP BY a.kind, a.source
    ORDER BY failures DESC, a.source ASC
    LIMIT 3
) AS f;
