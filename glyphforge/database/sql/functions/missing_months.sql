-- Of the months wanted (any of their days, UTC) those without a partition, as their first days and in the order given;
-- `obstacle` says what is in the way of making it and what to do, NULL when nothing is.
CREATE FUNCTION missing_months(parent regclass, wanted date[]) RETURNS TABLE (month date, obstacle text)
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET quote_all_identifiers = off
AS $$
    WITH existing AS MATERIALIZED (
        SELECT p.partition, p.opens, p.closes FROM monthly_partitions(parent) AS p
    ),
    months AS (
        SELECT
            date_trunc('month', w.day::timestamp)::date AS month,
            date_trunc('month', w.day::timestamp) AT TIME ZONE 'UTC' AS opens,
            (date_trunc('month', w.day::timestamp) + interval '1 month') AT TIME ZONE 'UTC' AS closes,
            min(w.n) AS n
        FROM unnest(wanted) WITH ORDINALITY AS w (day, n)
        WHERE w.day IS NOT NULL
        GROUP BY 1, 2, 3
    )
    SELECT
        m.month,
        CASE
            WHEN o.partition IS NOT NULL THEN format(
                'partition %s holds a part of it, from %s to %s: detach it, and rename or drop it',
                o.partition, o.opens, o.closes
            )
            WHEN i.inhdetachpending THEN format(
                'partition %1$s is half detached: ALTER TABLE %2$s DETACH PARTITION %1$s FINALIZE, then rename or drop it',
                r.oid::regclass, parent
            )
            WHEN r.oid IS NOT NULL THEN format(
                'table %s exists but is no partition of %s: rename it, or drop it when nobody needs it',
                r.oid::regclass, parent
            )
        END
    FROM months AS m
    LEFT JOIN LATERAL (
        SELECT e.partition, e.opens, e.closes
        FROM existing AS e
        WHERE e.opens < m.closes AND e.closes > m.opens
        ORDER BY e.opens
        LIMIT 1
    ) AS o ON true
    LEFT JOIN pg_class AS r ON r.oid = to_regclass(quote_ident(partition_name(parent, m.month)))::oid
    LEFT JOIN pg_inherits AS i ON i.inhrelid = r.oid AND i.inhparent = parent::oid
    WHERE o.partition IS NULL OR o.opens > m.opens OR o.closes < m.closes
    ORDER BY m.n
$$;
