"""What a schema holds, read from PostgreSQL's catalogue in a form that two schemas can be compared by."""

import json
from typing import Any, NamedTuple


class Key(NamedTuple):
    """What kind of object, and its name: `table.name` for what belongs to a table."""

    kind: str
    name: str


Catalogue = dict[Key, dict[str, Any]]

# Attributes that say how an object is made again, and what would be in the way; no two schemas are compared by them.
FOR_MENDING = {"statement", "types", "reads", "grants", "columns in order", "names"}

# Each query yields (name, attributes). Definitions are printed the way the search path lets them be: unqualified.
_NOT_OF_AN_EXTENSION = """
    NOT EXISTS (SELECT 1 FROM pg_depend AS x WHERE x.objid = {0}.oid AND x.classid = {0}.tableoid AND x.deptype = 'e')
"""
_RELATIONS = f"""
    SELECT c.relname, jsonb_build_object(
        'owner', pg_get_userbyid(c.relowner),
        'persistence', c.relpersistence,
        'partitioned by', pg_get_partkeydef(c.oid),
        'options', (SELECT jsonb_agg(o ORDER BY o) FROM unnest(c.reloptions) AS o),
        'row security', c.relrowsecurity
    )
    FROM pg_class AS c
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition
        AND {_NOT_OF_AN_EXTENSION.format("c")}
"""
_COLUMNS = f"""
    SELECT c.relname || '.' || a.attname, jsonb_build_object(
        'type', format_type(a.atttypid, a.atttypmod),
        'not null', a.attnotnull,
        'default', pg_get_expr(d.adbin, d.adrelid),
        'identity', a.attidentity,
        'generated', a.attgenerated,
        'collation', nullif(a.attcollation, t.typcollation)::regcollation::text
    )
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'f', 'v', 'm') AND NOT c.relispartition
        AND {_NOT_OF_AN_EXTENSION.format("c")}
"""
# PostgreSQL 18 lists NOT NULL as constraints of their own; the columns tell already.
_CONSTRAINTS = """
    SELECT c.relname || '.' || n.conname, jsonb_build_object(
        'definition', pg_get_constraintdef(n.oid, true),
        'validated', n.convalidated,
        'triggers enabled', (SELECT bool_and(g.tgenabled = 'O') FROM pg_trigger AS g WHERE g.tgconstraint = n.oid),
        'reads', (
            SELECT jsonb_agg(k.conrelid::regclass || '.' || k.conname)
            FROM pg_constraint AS k
            WHERE n.contype = 'f' AND k.conindid = n.conindid AND k.contype IN ('p', 'u')
        ),
        'statement', (
            SELECT string_agg(
                format('ALTER TABLE %%s ENABLE TRIGGER %%I', g.tgrelid::regclass, g.tgname), ';' || chr(10)
            )
            FROM pg_trigger AS g
            WHERE g.tgconstraint = n.oid AND g.tgenabled <> 'O'
        )
    )
    FROM pg_constraint AS n
    JOIN pg_class AS c ON c.oid = n.conrelid
    WHERE c.relnamespace = %(schema)s::regnamespace AND NOT c.relispartition AND n.contype <> 'n'
"""
_INDEXES = """
    SELECT c.relname || '.' || i.relname, jsonb_build_object(
        'definition', pg_get_indexdef(i.oid, 0, true), 'valid', x.indisvalid AND x.indisready
    )
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_class AS c ON c.oid = x.indrelid
    WHERE c.relnamespace = %(schema)s::regnamespace AND NOT c.relispartition
"""
_TRIGGERS = """
    SELECT c.relname || '.' || g.tgname, jsonb_build_object(
        'definition', pg_get_triggerdef(g.oid, true),
        'enabled', g.tgenabled,
        'reads', (
            SELECT jsonb_agg(DISTINCT c.relname || '.' || a.attname)
            FROM pg_depend AS d
            JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_trigger'::regclass AND d.objid = g.oid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0
        )
    )
    FROM pg_trigger AS g
    JOIN pg_class AS c ON c.oid = g.tgrelid
    WHERE c.relnamespace = %(schema)s::regnamespace AND NOT c.relispartition AND NOT g.tgisinternal
"""
_FUNCTIONS = f"""
    SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', jsonb_build_object(
        'owner', pg_get_userbyid(p.proowner),
        'arguments', pg_get_function_arguments(p.oid),
        'result', pg_get_function_result(p.oid),
        'language', (SELECT l.lanname FROM pg_language AS l WHERE l.oid = p.prolang),
        'body', coalesce(pg_get_function_sqlbody(p.oid), p.prosrc),
        'kind', p.prokind,
        'volatility', p.provolatile,
        'strict', p.proisstrict,
        'parallel', p.proparallel,
        'security definer', p.prosecdef,
        'settings', (SELECT jsonb_agg(s ORDER BY s) FROM unnest(p.proconfig) AS s),
        'open to all', has_function_privilege('public', p.oid, 'EXECUTE'),
        'statement', CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) END,
        'types', p.proname || '(' || oidvectortypes(p.proargtypes) || ')',
        'grants', (
            SELECT jsonb_agg(jsonb_build_array(a.privilege_type, quote_ident(pg_get_userbyid(a.grantee))))
            FROM aclexplode(p.proacl) AS a
            WHERE a.grantee NOT IN (0, p.proowner)
        )
    )
    FROM pg_proc AS p
    WHERE p.pronamespace = %(schema)s::regnamespace AND {_NOT_OF_AN_EXTENSION.format("p")}
"""
_VIEWS = f"""
    SELECT c.relname, jsonb_build_object(
        'owner', pg_get_userbyid(c.relowner),
        'definition', pg_get_viewdef(c.oid, true),
        'materialized', c.relkind = 'm',
        'options', (SELECT jsonb_agg(o ORDER BY o) FROM unnest(c.reloptions) AS o),
        'columns in order', (
            SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
            FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        'reads', (
            SELECT jsonb_agg(DISTINCT coalesce(
                f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')',
                concat_ws('.', t.relname, a.attname)
            ))
            FROM pg_rewrite AS r
            JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
            LEFT JOIN pg_proc AS f ON d.refclassid = 'pg_proc'::regclass AND f.oid = d.refobjid
            LEFT JOIN pg_class AS t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid AND t.oid <> c.oid
            LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
            WHERE r.ev_class = c.oid AND (f.oid IS NOT NULL OR t.oid IS NOT NULL)
        ),
        'grants', (
            SELECT jsonb_agg(jsonb_build_array(
                a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
            ))
            FROM aclexplode(c.relacl) AS a
            WHERE a.grantee <> c.relowner
        )
    )
    FROM pg_class AS c
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('v', 'm') AND {_NOT_OF_AN_EXTENSION.format("c")}
"""
_RULES = """
    SELECT c.relname || '.' || r.rulename, jsonb_build_object('definition', pg_get_ruledef(r.oid, true))
    FROM pg_rewrite AS r
    JOIN pg_class AS c ON c.oid = r.ev_class
    WHERE c.relnamespace = %(schema)s::regnamespace AND r.rulename <> '_RETURN'
"""
_POLICIES = """
    SELECT c.relname || '.' || y.polname, jsonb_build_object(
        'command', y.polcmd, 'using', pg_get_expr(y.polqual, c.oid), 'check', pg_get_expr(y.polwithcheck, c.oid)
    )
    FROM pg_policy AS y
    JOIN pg_class AS c ON c.oid = y.polrelid
    WHERE c.relnamespace = %(schema)s::regnamespace
"""
# A sequence of an identity or serial column is its column's affair, unless a desired file made it.
_SEQUENCES = f"""
    SELECT c.relname, jsonb_build_object(
        'owner', pg_get_userbyid(c.relowner),
        'type', format_type(s.seqtypid, NULL),
        'start', s.seqstart,
        'increment', s.seqincrement,
        'bounds', jsonb_build_array(s.seqmin, s.seqmax),
        'cycle', s.seqcycle,
        'owned by', (
            SELECT d.refobjid::regclass || '.' || a.attname
            FROM pg_depend AS d
            JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a'
        )
    )
    FROM pg_class AS c
    JOIN pg_sequence AS s ON s.seqrelid = c.oid
    WHERE c.relnamespace = %(schema)s::regnamespace AND {_NOT_OF_AN_EXTENSION.format("c")}
        AND NOT EXISTS (
            SELECT 1 FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
        )
"""
_TYPES = f"""
    SELECT t.typname, jsonb_build_object(
        'base', format_type(t.typbasetype, t.typtypmod),
        'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid)
    )
    FROM pg_type AS t
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE t.typnamespace = %(schema)s::regnamespace
        AND (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c') AND {_NOT_OF_AN_EXTENSION.format("t")}
"""
# A partition's constraints and indexes have generated names: it is compared by what they say.
_PARTITIONS = """
    SELECT c.relname, jsonb_build_object(
        'of', i.inhparent::regclass::text,
        'bounds', pg_get_expr(c.relpartbound, c.oid),
        'half detached', i.inhdetachpending,
        'owner', pg_get_userbyid(c.relowner),
        'persistence', c.relpersistence,
        'options', (SELECT jsonb_agg(o ORDER BY o) FROM unnest(c.reloptions) AS o),
        'columns', (
            SELECT jsonb_object_agg(a.attname, concat_ws(
                ' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
            ))
            FROM pg_attribute AS a
            LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        'constraints', (
            SELECT jsonb_agg(pg_get_constraintdef(n.oid, true) ORDER BY pg_get_constraintdef(n.oid, true))
            FROM pg_constraint AS n
            WHERE n.conrelid = c.oid AND n.contype <> 'n'
        ),
        'indexes', (
            SELECT jsonb_agg(x.definition ORDER BY x.definition)
            FROM (
                SELECT concat_ws(
                    ' ', CASE WHEN x.indisunique THEN 'UNIQUE' END,
                    substring(pg_get_indexdef(x.indexrelid, 0, true) FROM ' (USING .*)'),
                    CASE WHEN NOT x.indisvalid THEN 'INVALID' END
                )
                FROM pg_index AS x
                WHERE x.indrelid = c.oid
            ) AS x (definition)
        ),
        -- By what they say, their names.
        'names', (
            SELECT jsonb_object_agg(n.definition, n.name)
            FROM (
                SELECT pg_get_constraintdef(n.oid, true), n.conname
                FROM pg_constraint AS n
                WHERE n.conrelid = c.oid AND n.contype <> 'n'
                UNION ALL
                SELECT concat_ws(
                    ' ', CASE WHEN x.indisunique THEN 'UNIQUE' END,
                    substring(pg_get_indexdef(x.indexrelid, 0, true) FROM ' (USING .*)'),
                    CASE WHEN NOT x.indisvalid THEN 'INVALID' END
                ), k.relname
                FROM pg_index AS x
                JOIN pg_class AS k ON k.oid = x.indexrelid
                WHERE x.indrelid = c.oid
            ) AS n (definition, name)
        ),
        'triggers', (
            SELECT jsonb_object_agg(g.tgname, jsonb_build_array(
                replace(pg_get_triggerdef(g.oid, true), ' ON ' || c.relname || ' ', ' ON … '), g.tgenabled
            ))
            FROM pg_trigger AS g
            WHERE g.tgrelid = c.oid AND NOT g.tgisinternal
        )
    )
    FROM pg_class AS c
    JOIN pg_inherits AS i ON i.inhrelid = c.oid
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p') AND c.relispartition
"""
_QUERIES = {
    "table": _RELATIONS,
    "column": _COLUMNS,
    "constraint": _CONSTRAINTS,
    "index": _INDEXES,
    "trigger": _TRIGGERS,
    "function": _FUNCTIONS,
    "view": _VIEWS,
    "rule": _RULES,
    "policy": _POLICIES,
    "sequence": _SEQUENCES,
    "type": _TYPES,
    "partition": _PARTITIONS,
}


def read(cursor: Any, schema: str, *, search_path: str) -> Catalogue:
    """Everything in the schema; names that the search path finds are printed without their schema.

    Sets the search path, the time zone and the style of dates until the end of the transaction. The catalogue's tables:
    https://www.postgresql.org/docs/current/catalogs.html
    """
    cursor.execute(f"SET LOCAL search_path = {search_path}")
    # How bounds and defaults are printed depends on these.
    cursor.execute("SET LOCAL timezone = 'UTC'")
    cursor.execute("SET LOCAL datestyle = 'ISO'")
    found: Catalogue = {}
    for kind, query in _QUERIES.items():
        cursor.execute(query, {"schema": schema})
        for name, attributes in cursor.fetchall():
            found[Key(kind, name)] = json.loads(attributes) if isinstance(attributes, str) else attributes
    return found
