-- The check on rows whose month has no partition.
CREATE VIEW health_of_strays AS
SELECT
    'default_partition_rows' AS check_name,
    coalesce(sum(s.row_count), 0)::numeric AS value,
    format(
        '%s rows of api_usage and %s of audit_log are in a month without partition',
        coalesce(sum(s.row_count) FILTER (WHERE s.table_name = 'api_usage'), 0),
        coalesce(sum(s.row_count) FILTER (WHERE s.table_name = 'audit_log'), 0)
    )
    || coalesce(
        ': ' || string_agg(to_char(s.month::timestamp, 'YYYY-MM'), ', ' ORDER BY s.month) FILTER (WHERE s.nearest <= 3)
        || CASE WHEN count(*) > 3 THEN format(' and %s more', count(*) - 3) ELSE '' END, ''
    )
    || coalesce(
        '; to be renamed or dropped, as in the way: '
        || string_agg(s.in_the_way, ', ' ORDER BY s.month) FILTER (WHERE s.in_the_way IS NOT NULL), ''
    )
    || '.' AS message
FROM (
    SELECT
        m.table_name,
        m.month,
        m.row_count,
        m.in_the_way,
        row_number() OVER (ORDER BY abs(m.month - now()::date), m.table_name) AS nearest
    FROM stray_months AS m
) AS s;
