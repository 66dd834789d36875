"""What the roles that connect lack, or have too much of, for what they do; each with what mends it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from glyphforge.database import desired, rights, roles
from glyphforge.database.connection import maintenance_alias

AS_SUPERUSER = "as a superuser run: manage.py database init --roles"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a role's rights, what mends it, and whether work fails for it."""

    text: str
    remedy: str
    critical: bool


def of_all() -> list[Problem]:
    """What is wrong with any of the roles, over the connections that the settings name."""
    return [
        *of_application(DEFAULT_DB_ALIAS),
        *of_owner(DEFAULT_DB_ALIAS),
        *of_maintenance(maintenance_alias()),
    ]


def of_application(alias: str) -> list[Problem]:
    """What is wrong with the role of web and worker: rights that it lacks, and such as it should not have."""
    return [*_lacking(alias), *_too_many(alias)]


def of_maintenance(alias: str) -> list[Problem]:
    """What the role lacks that backs up, restores for a drill and compares definitions."""
    with connections[alias].cursor() as cursor:
        role = _role(cursor)
        cursor.execute(
            "SELECT has_database_privilege(current_database(), 'CREATE'), rolcreatedb OR rolsuper,"
            " (SELECT array_agg(c.relname ORDER BY c.relname) FROM pg_class AS c"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'S')"
            " AND CASE c.relkind WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT')"
            " ELSE NOT has_table_privilege(c.oid, 'SELECT') END)"
            " FROM pg_roles WHERE rolname = current_user"
        )
        creates_schemas, creates_databases, unread = cursor.fetchone()
    found = {
        f"{role} may not read {_listed(unread or [])}, so no backup can be taken": not unread,
        f"{role} may not create databases, so no drill can restore a backup": creates_databases,
        f"{role} may not create a schema here, so the database cannot be compared": creates_schemas,
    }
    remedy = f"{AS_SUPERUSER}, and set MAINTENANCE_DATABASE_URL with the role {roles.BACKUP}"
    return [Problem(text, remedy, critical=True) for text, fine in found.items() if not fine]


def of_owner(alias: str) -> list[Problem]:
    """What is wrong with who owns the tables, and with who may create beside them."""
    found = []
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [roles.OWNER])
        if cursor.fetchone():
            cursor.execute(
                "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p', 'v') AND relowner <> %s::regrole",
                [roles.OWNER],
            )
            if others := cursor.fetchone()[0]:
                text = f"{_listed(others)} do not belong to {roles.OWNER}, so it cannot migrate them"
                found.append(Problem(text, AS_SUPERUSER, critical=True))
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl) AS granted WHERE nspname = 'public'"
            " AND granted.grantee = 0 AND granted.privilege_type = 'CREATE')"
        )
        if cursor.fetchone() == (True,):
            text = "every role may create functions in public, which ours would call with the owner's rights"
            found.append(Problem(text, "as a superuser: REVOKE CREATE ON SCHEMA public FROM PUBLIC;", critical=False))
    return found


def _lacking(alias: str) -> Iterator[Problem]:
    declared = rights.declared()
    kept = {*declared.append_only, *declared.read_only}
    with connections[alias].cursor() as cursor:
        role = _role(cursor)
        for privilege, names in (
            ("SELECT", desired.table_names() | desired.view_names()),
            ("INSERT", desired.table_names() - {*declared.read_only}),
            ("UPDATE", desired.table_names() - kept),
            ("DELETE", desired.table_names() - kept),
        ):
            cursor.execute(
                "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relname = ANY (%s) AND NOT has_table_privilege(oid, %s)",
                [sorted(names), privilege],
            )
            if lacking := cursor.fetchone()[0]:
                yield Problem(f"{role} lacks {privilege} on {_listed(lacking)}", AS_SUPERUSER, critical=True)
        cursor.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')")
        if cursor.fetchone() == (False,):
            text = f"{role} does not see other sessions, so checks of locks and long statements stay unknown"
            remedy = f'as a superuser: GRANT pg_read_all_stats TO "{role}";'
            yield Problem(text, remedy, critical=False)


def _too_many(alias: str) -> Iterator[Problem]:
    remedy = (
        f"{AS_SUPERUSER}, and name the roles {roles.WORKER} in DATABASE_URL and {roles.WEB} in WEB_DATABASE_URL,"
        f" or {roles.APPLICATION} in DATABASE_URL for both"
    )
    with connections[alias].cursor() as cursor:
        role = _role(cursor)
        cursor.execute(
            "SELECT rolsuper, EXISTS (SELECT FROM pg_class WHERE relname = 'audit_log'"
            " AND relnamespace = 'public'::regnamespace AND pg_has_role(relowner, 'MEMBER'))"
            " FROM pg_roles WHERE rolname = current_user"
        )
        superuser, owner = cursor.fetchone()
        cursor.execute(
            "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relname = ANY (%s) AND has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE')",
            [list(rights.declared().read_only)],
        )
        written = cursor.fetchone()[0]
    if superuser:
        yield Problem(f"web and worker connect as {role}, a superuser", remedy, critical=True)
    elif owner:
        yield Problem(
            f"web and worker connect as {role}, who owns the tables and may drop them", remedy, critical=False
        )
    elif written:
        yield Problem(f"{role} may write {_listed(written)}, which it should only read", AS_SUPERUSER, critical=False)


def _role(cursor: Any) -> str:
    cursor.execute("SELECT current_user::text")
    return str(cursor.fetchone()[0])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
