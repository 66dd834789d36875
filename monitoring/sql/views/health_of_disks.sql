-- Checks on disks, of the samples of the last day, and how long they last at the growth of two weeks. Without samples,
-- and without a day between the first and the last, a value is NULL: unknown.
CREATE VIEW health_of_disks AS
WITH places AS MATERIALIZED (
    SELECT
        s.place,
        s.host,
        (array_agg(s.used_bytes ORDER BY s.sampled_at DESC))[1] AS used,
        (array_agg(s.free_bytes ORDER BY s.sampled_at DESC))[1] AS free,
        CASE
            WHEN max(s.sampled_at) - min(s.sampled_at) >= interval '1 day'
                THEN regr_slope(s.used_bytes, extract(EPOCH FROM s.sampled_at)) * 86400
        END AS growth
    FROM disk_samples AS s
    WHERE s.sampled_at > now() - interval '14 days'
    GROUP BY s.place, s.host
    HAVING max(s.sampled_at) > now() - interval '1 day'
),

lasting AS (
    SELECT
        p.place,
        p.host,
        p.free,
        p.growth,
        CASE WHEN p.growth > 0 THEN least(p.free / p.growth, 365) ELSE 365 END AS days
    FROM places AS p
    WHERE p.growth IS NOT NULL AND p.free IS NOT NULL
)

SELECT
    'disk_used' AS check_name,
    round(max(100.0 * p.used / nullif(p.used + p.free, 0)), 1) AS value,
    coalesce(
        string_agg(
            format(
                '%s on %s is %s %% full, %s are free', p.place, p.host,
                round(100.0 * p.used / nullif(p.used + p.free, 0)), pg_size_pretty(p.free)
            ),
            '; '
            ORDER BY p.used::numeric / nullif(p.used + p.free, 0) DESC, p.place ASC, p.host ASC
        ) || '.',
        'No disk was measured within the last day.'
    ) AS message
FROM places AS p
-- What lies on the disk of the data directory is part of what that uses.
WHERE p.free IS NOT NULL AND p.place NOT IN ('database', 'WAL')
UNION ALL
SELECT
    'disk_full_in' AS check_name,
    round(min(l.days)::numeric, 1) AS value,
    coalesce(
        string_agg(
            CASE
                WHEN l.days >= 365 THEN format('%s on %s lasts for a year or more', l.place, l.host)
                ELSE format(
                    '%s on %s is full in %s days, by %s a day', l.place, l.host, floor(l.days),
                    pg_size_pretty(l.growth::bigint)
                )
            END,
            '; '
            ORDER BY l.days ASC, l.place ASC, l.host ASC
        ) || '.',
        'Known once there are samples of a day.'
    ) AS message
FROM lasting AS l;
