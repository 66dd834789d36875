"""Least privilege: five SQL roles, and what each may do in this database.

They can log in but have no password until an operator gives them one. Settings belong to the role, as PgBouncer drops
what a client asks for when it connects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
from psycopg import sql

from glyphforge.database import desired, rights

OWNER, APPLICATION, BACKUP, SUPPORT, MONITOR = ROLES = (
    "glyphforge_owner",
    "glyphforge_app",
    "glyphforge_backup",
    "glyphforge_support",
    "glyphforge_monitor",
)


@dataclass(frozen=True)
class Role:
    """How many sessions a role may have, its settings, and the roles whose rights it has besides its own."""

    connections: int
    settings: Mapping[str, str] = field(default_factory=dict)
    member_of: tuple[str, ...] = ()
    creates_databases: bool = False


# The views join much and return little: compiling such a statement costs more than it saves.
_NO_JIT = {"jit": "off"}
# Who holds which lock, and for how long, is seen by these alone; the monitor's role brings it along:
# https://www.postgresql.org/docs/current/predefined-roles.html
_STATISTICS = "pg_read_all_stats"
_LIMITS = {
    # signal_session() runs with the owner's rights.
    OWNER: Role(
        5,
        {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "10min"},
        member_of=("pg_signal_backend", _STATISTICS),
    ),
    APPLICATION: Role(
        80,
        # A page answers within five seconds, if only to say what is locked.
        _NO_JIT | {"statement_timeout": "60s", "lock_timeout": "4s", "idle_in_transaction_session_timeout": "60s"},
        member_of=(_STATISTICS,),
    ),
    # A dump reads every table and may take hours; a drill restores into a database that it makes.
    BACKUP: Role(
        5,
        {"lock_timeout": "60s", "idle_in_transaction_session_timeout": "60min"},
        member_of=(OWNER,),
        creates_databases=True,
    ),
    SUPPORT: Role(
        10,
        _NO_JIT
        | {
            "statement_timeout": "15s",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "60s",
            "default_transaction_read_only": "on",
        },
        member_of=(_STATISTICS,),
    ),
    MONITOR: Role(
        5,
        _NO_JIT
        | {
            "statement_timeout": "10s",
            "lock_timeout": "1s",
            "idle_in_transaction_session_timeout": "30s",
            "default_transaction_read_only": "on",
        },
        member_of=("pg_monitor",),
    ),
}


def install(alias: str = "default") -> list[str]:
    """Create the roles that are missing, hand everything in `public` to the owner and grant the rest their rights.

    Idempotent, in one transaction; to be run after every migration that another role than the owner ran. Needs a
    superuser. Returns the names of the roles. What the owner makes later the application may use by default
    (https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html). Nobody but the owner may create in
    `public`, where a database of PostgreSQL 14 or older let everybody: functions of ours that run with the owner's
    rights look there for what they call (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS).
    """
    declared = rights.declared()
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:

        def run(statement: str, *names: str) -> None:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

        for name, role in _LIMITS.items():
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            run("ALTER ROLE {} LOGIN" if cursor.fetchone() else "CREATE ROLE {} LOGIN", name)
            creates = "CREATEDB" if role.creates_databases else "NOCREATEDB"
            run(f"ALTER ROLE {{}} NOSUPERUSER {creates} NOCREATEROLE CONNECTION LIMIT {role.connections}", name)
            run("ALTER ROLE {} RESET ALL", name)  # what an earlier release set
            for setting, value in role.settings.items():
                run(f"ALTER ROLE {{}} SET {setting} = '{value}'", name)
            for group in role.member_of:
                run("GRANT {} TO {}", group, name)
        cursor.execute("SELECT current_database()")
        database = cursor.fetchone()[0]
        run("GRANT CONNECT, TEMPORARY, CREATE ON DATABASE {} TO {}", database, OWNER)
        run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        hand_over(cursor)
        for name in (APPLICATION, SUPPORT, MONITOR):
            run("GRANT CONNECT ON DATABASE {} TO {}", database, name)
            run("GRANT USAGE ON SCHEMA public TO {}", name)
            run("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}", name)

        for privileges, kind in (
            ("SELECT, INSERT, UPDATE, DELETE", "TABLES"),
            ("USAGE, SELECT", "SEQUENCES"),
            ("EXECUTE", "FUNCTIONS"),
        ):
            run(f"GRANT {privileges} ON ALL {kind} IN SCHEMA public TO {{}}", APPLICATION)
            run(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} IN SCHEMA public GRANT {privileges} ON {kind} TO {{}}",
                OWNER,
                APPLICATION,
            )
        for table in declared.append_only + declared.read_only:
            run("REVOKE ALL ON {} FROM {}", table, APPLICATION)
            run(
                f"GRANT SELECT{', INSERT' if table in declared.append_only else ''} ON {{}} TO {{}}", table, APPLICATION
            )
        _revoke_on_partitions(cursor)
        for table in sorted(desired.table_names()):
            _grant_reading(cursor, table, declared.hidden_columns.get(table, ()), SUPPORT)
        for view in sorted(desired.view_names()):
            for name in (SUPPORT, MONITOR):
                run("GRANT SELECT ON {} TO {}", view, name)
        for name in (SUPPORT, MONITOR):
            # How full a sequence is, only who may read it can see.
            run("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {}", name)
    return list(ROLES)


def hand_over(cursor: Any) -> None:
    """Make the owner role own `public` and every table, view, sequence, function and type in it, the packages' too."""
    cursor.execute(
        f"""
        DO $$
        DECLARE
            statement text;
        BEGIN
            EXECUTE format('GRANT CREATE ON DATABASE %I TO {OWNER}', current_database());
            ALTER SCHEMA public OWNER TO {OWNER};
            FOR statement IN
                SELECT format(
                    'ALTER %s %s OWNER TO {OWNER}',
                    CASE c.relkind
                        WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE'
                    END,
                    c.oid::regclass
                )
                FROM pg_class AS c
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
                    AND c.relowner <> '{OWNER}'::regrole
                    -- A sequence that belongs to a column follows its table; an extension's objects stay its own.
                    AND NOT EXISTS (
                        SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                            AND (d.deptype = 'e' OR (c.relkind = 'S' AND d.deptype IN ('a', 'i')))
                    )
                UNION ALL
                SELECT format('ALTER ROUTINE %s OWNER TO {OWNER}', p.oid::regprocedure)
                FROM pg_proc AS p
                WHERE p.pronamespace = 'public'::regnamespace AND p.proowner <> '{OWNER}'::regrole
                    AND NOT EXISTS (
                        SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                    )
                UNION ALL
                SELECT format('ALTER TYPE %s OWNER TO {OWNER}', t.oid::regtype)
                FROM pg_type AS t
                LEFT JOIN pg_class AS c ON c.oid = t.typrelid
                WHERE t.typnamespace = 'public'::regnamespace AND t.typowner <> '{OWNER}'::regrole
                    -- The rows of a table and the arrays of a type follow it.
                    AND (t.typtype IN ('b', 'd', 'e', 'r') OR c.relkind = 'c') AND t.typcategory <> 'A'
                    AND NOT EXISTS (
                        SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
                    )
            LOOP
                EXECUTE statement;
            END LOOP;
        END
        $$
        """
    )


def _revoke_on_partitions(cursor: Any) -> None:
    """Partitions are reached through their parent, whose rights would otherwise be got around."""
    cursor.execute(
        f"""
        DO $$
        DECLARE
            partition regclass;
        BEGIN
            FOR partition IN
                SELECT c.oid FROM pg_class AS c
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relispartition
            LOOP
                EXECUTE format('REVOKE ALL ON %s FROM {APPLICATION}', partition);
            END LOOP;
        END
        $$
        """
    )


def _grant_reading(cursor: Any, table: str, hidden: Sequence[str], role: str) -> None:
    columns = "*"
    if hidden:
        cursor.execute(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%s)",
            [table, list(hidden)],
        )
        columns = cursor.fetchone()[0]
    privilege = "SELECT" if columns == "*" else f"SELECT ({columns})"
    cursor.execute(sql.SQL(f"GRANT {privilege} ON {{}} TO {{}}").format(sql.Identifier(table), sql.Identifier(role)))
