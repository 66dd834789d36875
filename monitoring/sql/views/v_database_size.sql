-- Every table of the database with its indexes; partitions are summed under their parent, whose own size is 0. Rows are
-- estimates of the statistics; NULL when the table was never counted.
CREATE VIEW v_database_size AS
WITH RECURSIVE family AS (
    SELECT
        c.oid AS root,
        c.oid AS relid
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
    WHERE
        c.relkind IN ('r', 'p', 'm')
        AND NOT c.relispartition
        AND n.nspname <> 'information_schema'
        AND n.nspname NOT LIKE 'pg\_%'
    UNION ALL
    SELECT
        family.root,
        i.inhrelid AS relid
    FROM family
    INNER JOIN pg_inherits AS i ON family.relid = i.inhparent
    INNER JOIN pg_class AS c ON i.inhrelid = c.oid AND c.relispartition
)

SELECT
    min(CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || r.relname) AS table_name,
    -- A table that is dropped meanwhile has no size any more.
    coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS total_bytes,
    coalesce(sum(pg_table_size(c.oid)), 0)::bigint AS table_bytes,
    coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint AS index_bytes,
    (
        sum(CASE WHEN c.reltuples >= 0 THEN c.reltuples WHEN st.n_live_tup > 0 THEN st.n_live_tup END)
        FILTER (WHERE c.relkind <> 'p')
    )::bigint AS row_estimate,
    coalesce(sum(st.n_dead_tup), 0)::bigint AS dead_rows,
    count(*) FILTER (WHERE c.relispartition AND c.relkind <> 'p') AS partitions,
    greatest(max(st.last_vacuum), max(st.last_autovacuum)) AS last_vacuum_at
FROM family
INNER JOIN pg_class AS c ON family.relid = c.oid
INNER JOIN pg_class AS r ON family.root = r.oid
INNER JOIN pg_namespace AS n ON r.relnamespace = n.oid
LEFT JOIN pg_stat_all_tables AS st ON family.relid = st.relid
GROUP BY family.root;
