"""Least privilege: the SQL roles, their limits and settings; `grants` says what each may do in this database.

They can log in but have no password until an operator gives them one. Settings belong to the role, as PgBouncer drops
what a client asks for when it connects.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import connections, transaction
from psycopg import sql

from glyphforge.database import grants
from glyphforge.database.grants import APPLICATION, BACKUP, MONITOR, OWNER, RETENTION, ROLES, SUPPORT, WEB, WORKER

__all__ = ["APPLICATION", "BACKUP", "MONITOR", "OWNER", "RETENTION", "ROLES", "SUPPORT", "WEB", "WORKER", "install"]


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
    # A page answers within five seconds, if only to say what is locked.
    **dict.fromkeys(
        grants.APPLICATIONS,
        Role(
            80,
            _NO_JIT | {"statement_timeout": "60s", "lock_timeout": "4s", "idle_in_transaction_session_timeout": "60s"},
            member_of=(_STATISTICS,),
        ),
    ),
    # It runs a function or two a night.
    RETENTION: Role(5, {"lock_timeout": "4s", "idle_in_transaction_session_timeout": "60s"}),
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
    superuser. Returns the names of the roles. Nobody but the owner may create in
    `public`, where a database of PostgreSQL 14 or older let everybody: functions of ours that run with the owner's
    rights look there for what they call (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS).
    """
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
        for name in grants.GRANTED:
            run("GRANT CONNECT ON DATABASE {} TO {}", database, name)
            run("GRANT USAGE ON SCHEMA public TO {}", name)
        grants.apply(cursor)
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


def renew(alias: str = "default") -> None:
    """Give and take what a migration's objects need, where `install` ran before and this role may act as the owner."""
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c"
            " WHERE c.oid = to_regclass('public.django_migrations') AND pg_get_userbyid(c.relowner) = %s"
            " AND (SELECT count(*) FROM pg_roles WHERE rolname = ANY (%s)) = %s",
            [OWNER, list(ROLES), len(ROLES)],
        )
        if cursor.fetchone() == (True,):
            hand_over(cursor)
            grants.apply(cursor)


def renew_after_migrate(using: str = "default", **kwargs: Any) -> None:
    """Receive `post_migrate`: an update needs no superuser."""
    renew(using)
