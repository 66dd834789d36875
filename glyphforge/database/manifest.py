"""The manifest beside a backup: what the file is, what it holds, and how to tell that it is still the same."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from glyphforge.audit import seals
from glyphforge.database.connection import DatabaseError

FORMAT = 1
CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """Everything about a backup that its file alone does not tell.

    `content` is full, schema or data; `created_at` is in ISO 8601, UTC; `bytes` and `sha256` are the dump file's.
    `migrations` maps each app to the last one applied, `row_counts` each table of `public` to its exact number of rows
    (empty for a schema alone), `roles` are those that a restore needs, `without_rows` the tables left without rows.
    `partitions` maps each partition by month to its table and the month's first day. `audit_anchor` is the last seal of
    the audit log in it, as `manage.py audit verify --anchors` reads it; empty where nothing was sealed.
    """

    format: int
    content: str
    created_at: str
    database: str
    server_version: str
    bytes: int
    sha256: str
    migrations: dict[str, str]
    roles: list[str]
    row_counts: dict[str, int]
    without_rows: list[str]
    partitions: dict[str, tuple[str, str]] = field(default_factory=dict)
    audit_anchor: str = ""

    def write(self, dump: Path) -> None:
        """Put the manifest beside the dump, in place of one that is there."""
        path = path_for(dump)
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def without_rows() -> list[str]:
    """The tables whose rows a backup leaves out, as the apps' configs name them."""
    return sorted(table for config in apps.get_app_configs() for table in getattr(config, "without_rows", ()))


def path_for(dump: Path) -> Path:
    """Where the manifest of a dump is: beside it, under its name and `.json`."""
    return dump.with_name(f"{dump.name}.json")


def read(dump: Path) -> Manifest:
    """The manifest of a backup; raises DatabaseError when it is missing or not one."""
    path = path_for(dump)
    try:
        values = json.loads(path.read_text())
        return Manifest(**values)
    except FileNotFoundError as error:
        raise DatabaseError(f"{path}: the manifest of {dump.name} is missing") from error
    except (OSError, ValueError, TypeError) as error:
        raise DatabaseError(f"{path}: not a manifest of a backup") from error


def check(dump: Path) -> Manifest:
    """The manifest of a backup whose file is whole; raises DatabaseError that says what is wrong with it.

    That is: missing, without a manifest, truncated, or altered by its SHA-256.
    """
    if not dump.is_file():
        raise DatabaseError(f"{dump}: no such file")
    manifest = read(dump)
    size = dump.stat().st_size
    if size < manifest.bytes:
        raise DatabaseError(f"{dump}: truncated: {size:,} of {manifest.bytes:,} bytes")
    if size > manifest.bytes or sha256(dump) != manifest.sha256:
        raise DatabaseError(f"{dump}: altered: its SHA-256 is not the one of its manifest")
    return manifest


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal; reads a mebibyte at a time, as dumps outgrow memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def row_counts(cursor: Any) -> dict[str, int]:
    """Exact numbers of rows of every table and partition in `public`, unlogged ones left out."""
    cursor.execute(
        "SELECT relname FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relpersistence = 'p' ORDER BY 1"
    )
    counts = {}
    for (name,) in cursor.fetchall():
        cursor.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(name)))
        counts[name] = cursor.fetchone()[0]
    return counts


def compare(cursor: Any, made: Manifest, name: str) -> None:
    """DatabaseError when a table of the database `name` does not hold as many rows as the manifest says."""
    found = row_counts(cursor)
    different = [
        f"{table} has {found.get(table, 'no table')} of {rows}"
        for table, rows in made.row_counts.items()
        if found.get(table) != rows
    ]
    if different:
        raise DatabaseError(f"database {name} differs from the manifest: {'; '.join(different)}")


def partitions(cursor: Any) -> dict[str, tuple[str, str]]:
    """The partitions by month, with their table and the first day of the month (UTC); none before `migrate`."""
    cursor.execute("SELECT to_regproc('monthly_partitions')")
    if cursor.fetchone() == (None,):
        return {}
    cursor.execute(
        "SELECT p.partition::text, t.partrelid::regclass::text, (p.opens AT TIME ZONE 'UTC')::date::text"
        " FROM pg_partitioned_table AS t CROSS JOIN monthly_partitions(t.partrelid) AS p"
    )
    return {name: (parent, month) for name, parent, month in cursor.fetchall()}


def audit_anchor(cursor: Any, alias: str) -> str:
    """The anchor of the audit log's seals, empty before the first one."""
    cursor.execute("SELECT to_regclass('audit_seals')")
    return "" if cursor.fetchone() == (None,) else str(seals.anchor(alias) or "")


def migration_heads(connection: Any) -> dict[str, str]:
    """The last applied migration of each app, by its number; empty before the first `migrate`."""
    recorder = MigrationRecorder(connection)
    heads: dict[str, str] = {}
    for app, name in recorder.applied_migrations() if recorder.has_table() else ():
        heads[app] = max(name, heads.get(app, ""))
    return dict(sorted(heads.items()))


def granted_roles(cursor: Any) -> list[str]:
    """The roles that own objects in `public` or were granted rights to them: a restore needs them to exist.

    PostgreSQL's own, `pg_…`, are left out: every server has them.
    """
    cursor.execute(
        """
        WITH objects AS (
            SELECT relowner AS owner, relacl AS acl FROM pg_class WHERE relnamespace = 'public'::regnamespace
            UNION ALL
            SELECT proowner, proacl FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL
            SELECT nspowner, nspacl FROM pg_namespace WHERE nspname = 'public'
            UNION ALL
            SELECT defaclrole, defaclacl FROM pg_default_acl
        )
        SELECT DISTINCT r.rolname
        FROM objects AS o
        LEFT JOIN LATERAL aclexplode(o.acl) AS a ON true
        JOIN pg_roles AS r ON r.oid IN (o.owner, a.grantee, a.grantor)
        WHERE r.rolname NOT LIKE 'pg\\_%'
        ORDER BY 1
        """
    )
    return [name for (name,) in cursor.fetchall()]
