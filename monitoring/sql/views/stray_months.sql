-- The months whose rows lie in a default partition, and the table that keeps their partition from being made, NULL
-- where there is none. Bounded, as more rows make no difference.
CREATE VIEW stray_months AS
SELECT
    s.table_name,
    s.month,
    s.row_count,
    c.relname::text COLLATE "default" AS in_the_way -- noqa: RF02
FROM (
    SELECT
        'api_usage' AS table_name,
        date_trunc('month', u.at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS row_count
    FROM (SELECT d.created_at AS at FROM api_usage_default AS d LIMIT 10000) AS u -- noqa: AM09
    GROUP BY 2
    UNION ALL
    SELECT
        'audit_log' AS table_name,
        date_trunc('month', a.at AT TIME ZONE 'UTC')::date AS month,
        count(*) AS row_count
    FROM (SELECT d.occurred_at AS at FROM audit_log_default AS d LIMIT 10000) AS a -- noqa: AM09
    GROUP BY 2
) AS s
LEFT JOIN pg_class AS c
    ON
        c.relname = s.table_name || to_char(s.month::timestamp, '"_"YYYY"_"MM')
        AND c.relnamespace = 'public'::regnamespace;
