"""An act tried in a transaction that is rolled back: which rows it would make, change and remove.

The rows are read from the database and not told by whoever writes them, so that those of triggers are among them, in
every table. A cursor opened before the act still reads its table as it was then
(https://www.postgresql.org/docs/current/sql-declare.html). Of the tables that the transaction's statistics say were
written, it names the rows that somebody has locked or replaced since; those that are not there any more are the act's,
and so are rows whose transaction is this one. How they were before is read when the act is undone. Nothing stays but
numbers that sequences handed out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from glyphforge.audit.masking import mask_values
from glyphforge.database import rights
from glyphforge.rows import Json

# What is told of an act, as lines by headline.
Told = dict[str, list[str]]
# Called before the act; what it returns is called after it, does what a worker would, and says what it did not do.
FollowUp = Callable[[], Callable[[], list[str]]]
# Entered before the act; what it yields is called after it and tells what has come of it. Its own rows are not noted.
Observer = Callable[[], AbstractContextManager[Callable[[], Told]]]

_follow_ups: list[FollowUp] = []
_observers: list[Observer] = []
_left_out: list[str] = []
_rehearsing: ContextVar[bool] = ContextVar("rehearsing", default=False)


@dataclass(frozen=True)
class Change:
    """A row that the act would insert (`before` is None), update or delete (`after` is None).

    `key` is the primary key as text. Columns that nobody may see are left out; `columns` masks secrets.
    """

    table: str
    key: str
    before: Json | None
    after: Json | None

    @property
    def action(self) -> str:
        """In the audit log's words."""
        return "insert" if self.before is None else "delete" if self.after is None else "update"

    def columns(self) -> list[tuple[str, Any, Any]]:
        """Name, value before and after of each column that would differ; of a new or removed row those with a value."""
        before, after = self.before or {}, self.after or {}
        names = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
        old, new = mask_values({name: before.get(name) for name in names}), mask_values(dict.fromkeys(names) | after)
        return [(name, old[name], new[name]) for name in names]


@dataclass(frozen=True)
class Rehearsal:
    """What an act would do: what it said, the rows by table and key, and what follows, a list of lines by headline."""

    said: Any
    changes: list[Change]
    told: Told = field(default_factory=dict)


def register(
    *, follow_up: FollowUp | None = None, observer: Observer | None = None, leave_out: str | None = None
) -> None:
    """Have every rehearsal go on with this, tell of this, or leave out a table: one that no act writes and all use."""
    _left_out.extend([leave_out] if leave_out else [])
    _follow_ups.extend([follow_up] if follow_up else [])
    _observers.extend([observer] if observer else [])


def is_rehearsing() -> bool:
    """Whether what happens now is rolled back: nobody outside may be told or asked to change anything."""
    return _rehearsing.get()


def rehearse(act: Callable[[], Any]) -> Rehearsal:
    """Do `act` and all that follows from it, note what that did, and undo it.

    Raises what `act` raises, RuntimeError inside another rehearsal. The rows that it writes stay locked meanwhile.
    """
    if is_rehearsing():
        raise RuntimeError("rehearse: a rehearsal is under way")
    token = _rehearsing.set(True)
    try:
        with transaction.atomic(), ExitStack() as watching:
            tell = [watching.enter_context(observer()) for observer in _observers]
            with transaction.atomic():  # a savepoint, whose rows are told from those before, and which is undone first
                tables = _Tables()
                go_on = [follow_up() for follow_up in _follow_ups]
                said = act()
                left = [line for each in go_on for line in each()]
                with connection.cursor() as cursor:
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                tables.look()
                told = {headline: lines for each in tell for headline, lines in each().items()}
                transaction.set_rollback(True)
            changes = tables.changes()
            transaction.set_rollback(True)
        return Rehearsal(said, changes, told | ({"Not rehearsed": left} if left else {}))
    finally:
        _rehearsing.reset(token)


class _Tables:
    """Every table as it is when this is made, which has to be in the savepoint whose rows are looked for."""

    def __init__(self) -> None:
        self.began = self._marker()
        self.written_before = self._written()
        self.replaced: dict[int, set[tuple[int, str]]] = {}  # by table, where the rows were that are there no more
        self.markers: set[str] = set()  # rows of the audit log that are ours
        self.after: dict[int, dict[str, Json]] = {}  # by table and key, the rows that the act wrote
        with connection.cursor() as cursor:
            cursor.execute(_TABLES, [_left_out])
            self.keys: dict[int, tuple[str, list[str]]] = {oid: (name, key) for oid, name, key in cursor.fetchall()}
            declare = "DECLARE {} NO SCROLL CURSOR FOR SELECT t.tableoid::bigint, t.ctid::text FROM {} AS t"
            declare += " WHERE t.xmax::text <> '0'"
            cursor.execute(
                sql.SQL("; ").join(
                    sql.SQL(declare).format(_cursor_name(oid), sql.Identifier(name))
                    for oid, (name, _) in self.keys.items()
                )
            )

    def look(self) -> None:
        """Find the rows that are not as they were."""
        written = self._written()
        with transaction.atomic():
            ended = self._marker()
        own = {"began": self.began[1], "ended": ended[1]}
        for oid, (name, key) in self.keys.items():
            if written.get(oid, 0) == self.written_before.get(oid, 0):
                continue
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL("FETCH ALL FROM {}").format(_cursor_name(oid)))
                touched = set(cursor.fetchall())
                # Who only locked a row has left it where it was.
                there = sql.SQL("SELECT t.tableoid::bigint, t.ctid::text FROM {} AS t WHERE t.ctid = ANY (%s::tid[])")
                cursor.execute(there.format(sql.Identifier(name)), [[place for _, place in touched]])
                self.replaced[oid] = touched - set(cursor.fetchall())
                cursor.execute(_select(name, key, _OWN), own)
                self.after[oid] = _rows(cursor)
        self.markers = {f"{number}" for number, _ in (self.began, ended)}

    def changes(self) -> list[Change]:
        """What `look` found beside how it was before, by table and key; to be called when the act is undone."""
        hidden = rights.declared().hidden_columns
        found = []
        for oid, after in self.after.items():
            name, key = self.keys[oid]
            with connection.cursor() as cursor:
                places = [f"{table}{place}" for table, place in self.replaced[oid]]
                tids = [place for _, place in self.replaced[oid]]
                cursor.execute(_select(name, key, _AT), {"tids": tids, "places": places})
                before = _rows(cursor)
            out = hidden.get(name, ())
            for each in before.keys() | after.keys():
                old, new = _without(before.get(each), out), _without(after.get(each), out)
                if old != new and not (name == "audit_log" and each.partition("/")[0] in self.markers):
                    found.append(Change(name, each, old, new))
        return sorted(found, key=lambda change: (change.table, change.key))

    @staticmethod
    def _marker() -> tuple[int, int]:
        """The id of an audit row, and of the savepoint that wrote it: those inside it, and later ones, are higher."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT record_audit('rehearse', 'audit_marker')")
            (number,) = cursor.fetchone()
            cursor.execute("SELECT xmin::text::bigint FROM audit_log WHERE id = %s", [number])
            return number, cursor.fetchone()[0]

    @staticmethod
    def _written() -> dict[int, int]:
        """How many rows of each table this transaction has written so far."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(pg_partition_root(s.relid), s.relid)::oid::bigint,"
                " sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::bigint FROM pg_stat_xact_user_tables AS s GROUP BY 1"
            )
            return dict(cursor.fetchall())


# Without partitions, which are read through their table; the columns of the primary key in its order.
_TABLES = """
    SELECT c.oid::bigint, c.relname, coalesce((
        SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
        FROM pg_index AS i INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
        WHERE i.indrelid = c.oid AND i.indisprimary
    ), '{}')
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND c.relname <> ALL (%s) AND has_table_privilege(c.oid, 'SELECT')
    ORDER BY c.relname
"""


def _cursor_name(oid: int) -> sql.Identifier:
    return sql.Identifier(f"rehearsal_{oid}")


def _key(columns: list[str]) -> sql.Composable:
    """The primary key as text, several columns with a slash between; without one the whole row."""
    if not columns:
        return sql.SQL("to_jsonb(t)::text")
    parts = [sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in columns]
    return sql.SQL("concat_ws('/', {})").format(sql.SQL(", ").join(parts))


# Of the rows that others have committed meanwhile the transaction is over.
_OWN = """
    CASE WHEN t.xmin::text::bigint BETWEEN %(began)s AND %(ended)s THEN pg_xact_status((
        ((pg_current_xact_id()::text::bigint >> 32) << 32) + t.xmin::text::bigint
    )::text::xid8) = 'in progress' END
"""
# A place is one of a partition.
_AT = "t.ctid = ANY (%(tids)s::tid[]) AND concat(t.tableoid, t.ctid) = ANY (%(places)s)"


def _select(table: str, key: list[str], condition: str) -> sql.Composed:
    return sql.SQL("SELECT {}, to_jsonb(t) FROM {} AS t WHERE " + condition).format(_key(key), sql.Identifier(table))


def _rows(cursor: Any) -> dict[str, Json]:
    return {key: json.loads(row) if isinstance(row, str) else row for key, row in cursor.fetchall()}


def _without(row: Json | None, hidden: Collection[str]) -> Json | None:
    return row and {name: value for name, value in row.items() if name not in hidden}
