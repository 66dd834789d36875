-- Indexes that cost writes and space and give nothing: not read since the statistics were last reset, or made
-- superfluous by another one that begins with the same columns. Those that hold a rule (unique, exclusion) are none.
-- Parts of a partitioned index are counted with it.
CREATE VIEW v_index_findings AS
WITH indexes AS MATERIALIZED (
    SELECT
        x.indexrelid,
        x.indrelid,
        c.relname AS index_name,
        c.relam,
        x.indisunique OR x.indisexclusion AS holds_a_rule,
        x.indkey::text || ' ' AS columns,
        x.indclass::text || ' ' AS classes,
        x.indcollation::text || ' ' AS collations,
        x.indoption::text || ' ' AS orders,
        coalesce(pg_get_expr(x.indpred, x.indrelid), '') AS condition,
        x.indexprs IS NOT NULL AS has_expressions,
        family.bytes,
        family.scans
    FROM pg_index AS x
    INNER JOIN pg_class AS c ON x.indexrelid = c.oid
    INNER JOIN LATERAL (
        SELECT
            sum(pg_relation_size(part.relid))::bigint AS bytes,
            sum(s.idx_scan)::bigint AS scans
        FROM (
            SELECT x.indexrelid AS relid
            UNION
            SELECT t.relid
            FROM pg_partition_tree(x.indexrelid) AS t
        ) AS part
        LEFT JOIN pg_stat_all_indexes AS s ON part.relid = s.indexrelid
    ) AS family ON true
    WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND x.indisvalid
)

SELECT
    i.index_name::text AS index_name,
    i.indrelid::regclass::text AS table_name,
    found.problem,
    found.detail,
    i.bytes,
    i.scans,
    pg_get_indexdef(i.indexrelid) AS definition
FROM indexes AS i
INNER JOIN LATERAL (
    SELECT
        'duplicate' AS problem,
        format('%s begins with the same columns.', other.index_name) AS detail
    FROM indexes AS other
    WHERE
        other.indrelid = i.indrelid AND other.indexrelid <> i.indexrelid AND other.relam = i.relam
        AND NOT i.holds_a_rule AND NOT i.has_expressions AND NOT other.has_expressions
        AND starts_with(other.columns, i.columns) AND starts_with(other.classes, i.classes)
        AND starts_with(other.collations, i.collations) AND starts_with(other.orders, i.orders)
        AND other.condition = i.condition
        -- Of two that are the same the younger is superfluous.
        AND (other.columns <> i.columns OR other.holds_a_rule OR other.indexrelid < i.indexrelid)
    UNION ALL
    SELECT
        'unused' AS problem,
        format(
            'Not read since %s.',
            coalesce(date_trunc('second', d.stats_reset)::text, 'the statistics of this database began')
        ) AS detail
    FROM pg_stat_database AS d
    -- Of a small table no index is read: its rows are quicker to read whole.
    WHERE
        d.datname = current_database() AND i.scans = 0 AND NOT i.holds_a_rule AND i.bytes >= 1048576
    LIMIT 1
) AS found ON true;
