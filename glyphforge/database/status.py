"""What `database status` reports: migrations, sizes, partitions, jobs, backups."""

from typing import Any

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
JOBS = """
    SELECT DISTINCT ON (job) job, status, started_at, finished_at, rows_affected, error
    FROM job_runs
    ORDER BY job, started_at DESC NULLS LAST
"""
BACKUPS = """
    SELECT DISTINCT ON (kind) kind, status, finished_at, file, bytes, error
    FROM backup_runs
    ORDER BY kind, finished_at DESC
"""


def report(alias: str = "default") -> dict[str, Any]:
    """Everything as plain values. A part whose table is not there yet, as before `migrate`, is empty."""
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
            "jobs": _rows(cursor, JOBS) if "job_runs" in existing else [],
            "backups": _rows(cursor, BACKUPS) if "backup_runs" in existing else [],
        }


def _rows(cursor: Any, query: str) -> list[dict[str, Any]]:
    cursor.execute(query)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
