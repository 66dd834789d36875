-- The check on sequences. A NULL value is unknown: this role may not read one of them.
CREATE VIEW health_of_sequences AS
SELECT
    'sequences' AS check_name,
    CASE WHEN count(*) FILTER (WHERE NOT s.is_readable) = 0 THEN round(coalesce(max(s.percent), 0), 1) END AS value,
    CASE
        WHEN count(*) FILTER (WHERE NOT s.is_readable) > 0 THEN 'This role may not read every sequence.'
        ELSE coalesce(
            'The fullest is ' || (array_agg(s.sequencename ORDER BY s.percent DESC NULLS LAST))[1] || '.',
            'There are none.'
        )
    END AS message
FROM (
    SELECT
        p.sequencename,
        100.0 * p.last_value / p.max_value AS percent,
        -- A sequence that may not be read has the same NULL as one that was never used.
        has_sequence_privilege(c.oid, 'SELECT, USAGE') AS is_readable
    FROM pg_sequences AS p
    INNER JOIN pg_namespace AS n ON p.schemaname = n.nspname
    INNER JOIN pg_class AS c ON n.oid = c.relnamespace AND p.sequencename = c.relname
    WHERE p.increment_by > 0 AND NOT p.cycle
) AS s;
