"""Which SQL role may do what to which object in `public`: said once, granted by `install`, compared by `verify`.

An object is a table, view, sequence or function that no extension brought along; a partition is reached through its
parent and gives nobody anything. Rights of other roles than ours are their makers' affair.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from glyphforge.database import desired, rights

ROLES = OWNER, APPLICATION, WEB, WORKER, RETENTION, BACKUP, SUPPORT, MONITOR = (
    "glyphforge_owner",
    "glyphforge_app",
    "glyphforge_web",
    "glyphforge_worker",
    "glyphforge_retention",
    "glyphforge_backup",
    "glyphforge_support",
    "glyphforge_monitor",
)
# Web and worker in one, or each by itself.
APPLICATIONS = (APPLICATION, WEB, WORKER)
GRANTED = (*APPLICATIONS, RETENTION, SUPPORT, MONITOR)
_WRITING: tuple[str, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")
_SEQUENCE = ("USAGE", "SELECT")


@dataclass(frozen=True, order=True)
class Grant:
    """A right of a role: `kind` is the word behind ON, `name` the object as SQL has it, with a column where for one."""

    kind: str
    name: str
    role: str
    privilege: str
    column: str = ""


# Name and kind of each object: tables and partitioned ones, views, sequences, functions; `hides` is a partition.
_OBJECTS = """
    SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, c.relname,
        c.relkind IN ('v', 'm'), c.relispartition
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text, p.proname, false, false
    FROM pg_proc AS p
    WHERE p.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
# Who may execute a function by PUBLIC is compared with its definition.
_FOUND = """
    SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, ''
    FROM pg_class AS c
    CROSS JOIN aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND a.grantee <> c.relowner
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'TABLE', c.oid::regclass::text,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, t.attname
    FROM pg_class AS c
    JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped
    CROSS JOIN aclexplode(t.attacl) AS a
    WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text, pg_get_userbyid(a.grantee), a.privilege_type, ''
    FROM pg_proc AS p
    CROSS JOIN aclexplode(p.proacl) AS a
    WHERE p.pronamespace = 'public'::regnamespace AND a.grantee NOT IN (0, p.proowner)
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%s)
"""
_DEFAULTS = """
    SELECT d.defaclobjtype, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type
    FROM pg_default_acl AS d
    CROSS JOIN aclexplode(d.defaclacl) AS a
    WHERE d.defaclrole = %s::regrole AND d.defaclnamespace = 'public'::regnamespace AND a.grantee <> d.defaclrole
"""
# What the owner makes later: https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html
DEFAULTS = {
    (kind, role, privilege)
    for kind, privileges in (("r", _WRITING), ("S", _SEQUENCE), ("f", ("EXECUTE",)))
    for role in APPLICATIONS
    for privilege in privileges
}
DEFAULT_KINDS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS"}


def wanted(cursor: Any) -> set[Grant]:
    """Every right that our roles should have to the objects that are there."""
    declared = rights.declared()
    ours = desired.table_names() | desired.view_names()
    found: set[Grant] = set()
    cursor.execute(_OBJECTS)
    for kind, name, short, is_view, is_partition in cursor.fetchall():
        if is_partition:
            continue
        if kind == "ROUTINE":
            found |= {Grant(kind, name, role, "EXECUTE") for role in _executing(short, declared)}
        elif kind == "SEQUENCE":
            found |= {Grant(kind, name, role, each) for role in APPLICATIONS for each in _SEQUENCE}
            # How full a sequence is, only who may read it can see.
            found |= {Grant(kind, name, role, "SELECT") for role in (SUPPORT, MONITOR)}
        else:
            privileges = _WRITING
            if is_view or short in declared.read_only:
                privileges = _WRITING[:1]
            elif short in declared.append_only:
                privileges = _WRITING[:2]
            found |= {Grant(kind, name, role, each) for role in APPLICATIONS for each in privileges}
            if short in ours:
                found |= _reading(cursor, name, declared.hidden_columns.get(short, ()))
                found |= {Grant(kind, name, MONITOR, "SELECT")} if is_view else set()
    return found


def _executing(function: str, declared: rights.Rights) -> Iterable[str]:
    if function in declared.retention:
        return APPLICATION, RETENTION
    return (APPLICATION, WORKER) if function in declared.maintenance else APPLICATIONS


def _reading(cursor: Any, table: str, hidden: Iterable[str]) -> set[Grant]:
    if not hidden:
        return {Grant("TABLE", table, SUPPORT, "SELECT")}
    cursor.execute(_COLUMNS, [table, list(hidden)])
    return {Grant("TABLE", table, SUPPORT, "SELECT", column) for (column,) in cursor.fetchall()}


def actual(cursor: Any) -> set[Grant]:
    """Every right to an object that one of our roles has, or everybody."""
    cursor.execute(_FOUND)
    grants = {Grant(*row) for row in cursor.fetchall()}
    return {each for each in grants if each.role in (*GRANTED, "PUBLIC")}


def default_changes(cursor: Any) -> list[str]:
    """The statements after which what the owner makes later gives what it should, and no more."""
    cursor.execute(_DEFAULTS, [OWNER])
    found = set(cursor.fetchall())
    changes = [(each, "GRANT", "TO") for each in sorted(DEFAULTS - found)]
    changes += [(each, "REVOKE", "FROM") for each in sorted(found - DEFAULTS) if each[1] in (*GRANTED, "PUBLIC")]
    return [
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public {verb} {privilege} ON {DEFAULT_KINDS[kind]}"
        f" {whom} {role}"
        for (kind, role, privilege), verb, whom in changes
    ]


def changes(missing: set[Grant], surplus: set[Grant]) -> Iterator[str]:
    """The statements that give what is missing and take what is too much: one for a role, its rights and their kind."""
    for verb, whom, grants in (("REVOKE", "FROM", surplus), ("GRANT", "TO", missing)):
        by_object: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for each in grants:
            column = f" ({sql.Identifier(each.column).as_string()})" if each.column else ""
            by_object[each.kind, each.role, each.name].add(each.privilege + column)
        together: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for (kind, role, name), given in by_object.items():
            together[kind, role, ", ".join(sorted(given))].append(name)
        for (kind, role, listed), names in sorted(together.items()):
            yield f"{verb} {listed} ON {kind} {', '.join(sorted(names))} {whom} {role}"


def apply(cursor: Any) -> None:
    """Make the rights exactly what they should be."""
    should, has = wanted(cursor), actual(cursor)
    for statement in (*changes(should - has, has - should), *default_changes(cursor)):
        cursor.execute(statement)
