"""What `database status` reports: migrations, sizes, partitions, and what the apps' configs add."""

from typing import Any

from django.apps import apps
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from glyphforge.database.migrate import unapplied

# Partitions are summed under their parent, whose own size is nothing.
TABLES = """
    SELECT
        coalesce(p.root, c.oid)::regclass::text AS table_name,
        sum(greatest(c.reltuples, 0))::bigint AS row_estimate,
        sum(pg_total_relation_size(c.oid))::bigint AS total_bytes
    FROM pg_class AS c
    LEFT JOIN LATERAL (SELECT pg_partition_root(c.oid) AS root WHERE c.relispartition) AS p ON true
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    GROUP BY 1
    ORDER BY 3 DESC, 1
"""
PARTITIONS = """
    SELECT
        i.inhparent::regclass::text AS parent,
        c.relname AS partition,
        pg_get_expr(c.relpartbound, c.oid) AS bounds,
        greatest(c.reltuples, 0)::bigint AS row_estimate,
        pg_total_relation_size(c.oid)::bigint AS total_bytes
    FROM pg_inherits AS i
    JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    ORDER BY 1, 2
"""


def report(alias: str = "default") -> dict[str, Any]:
    """Everything as plain values. A part whose table is not there yet, as before `migrate`, is empty.

    `database` and its `total_bytes`; `migrations`: how many are `applied`, and the `unapplied` by name; `tables`, the
    largest first, and `partitions`: rows with `row_estimate`, from the planner's statistics, and `total_bytes`, indexes
    included. What the apps add are rows under the names of their sections.
    """
    recorder = MigrationRecorder(connections[alias])
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_database_size(current_database())")
        database, total_bytes = cursor.fetchone()
        existing = set(connections[alias].introspection.table_names(cursor))
        return {
            "database": database,
            "total_bytes": total_bytes,
            "migrations": {
                "applied": len(recorder.applied_migrations()) if recorder.has_table() else 0,
                "unapplied": unapplied(alias),
            },
            "tables": _rows(cursor, TABLES),
            "partitions": _rows(cursor, PARTITIONS),
            **{
                section: _rows(cursor, query) if table in existing else []
                for config in apps.get_app_configs()
                for section, (table, query) in getattr(config, "database_status", {}).items()
            },
        }


def _rows(cursor: Any, query: str) -> list[dict[str, Any]]:
    cursor.execute(query)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
