"""The statements that make one definition of a table of another.

They are derived from the two texts: columns and constraints item by item, everything else statement by statement.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from glyphforge.database.connection import DatabaseError

_PIECE = re.compile(r"(?:'(?:[^']|'')*'|\"[^\"]*\"|(?:--[^\n]*|\s)+|[^'\"\s])")
_TABLE = re.compile(r"CREATE (?:UNLOGGED )?TABLE (?P<name>\w+) \(")
_INSERT = re.compile(r"INSERT INTO (?P<table>\w+) \((?P<columns>[^)]*)\) VALUES (?P<rows>.*)", re.DOTALL)
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (?P<name>\w+) ")
_UNNAMED = re.compile(r"(?:PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY|EXCLUDE|LIKE)\b")
_CLAUSE = re.compile(r" (?=(?:NOT NULL|DEFAULT|CONSTRAINT|PRIMARY KEY|UNIQUE|REFERENCES|CHECK|GENERATED|COLLATE)\b)")


def alter(before: str, after: str) -> str:
    """The statements, one a line, that turn the table which `before` defines into the one that `after` does.

    Handles columns and constraints that come, go or change, indexes, and rows that the definition inserts, which are
    known by their first column: of a row that is kept only the values that changed are updated. A constraint holds for
    new rows at once; those that are there are read after the migration, by validation.validate(). Raises DatabaseError
    for anything else, as storage parameters, the way of partitioning and new partitions.
    """
    old, new = _Table.parse(before), _Table.parse(after)
    if (old.name, old.options) != (new.name, new.options):
        raise DatabaseError(
            f"tables/{new.name}: its name, a constraint without one or what follows its columns cannot be frozen; make"
            " another table, or leave the definition and change it by a RunSQL of the migration"
        )
    return "".join(
        f"{statement};\n"
        for statement in (
            *_gone(old.indexes, new.indexes, lambda name, _: f"DROP INDEX {name}"),
            *_gone(old.constraints, new.constraints, lambda name, _: f"ALTER TABLE {new.name} DROP CONSTRAINT {name}"),
            *_columns(old, new),
            *_gone(
                new.constraints, old.constraints, lambda _, text: f"ALTER TABLE {new.name} ADD {text}{_unread(text)}"
            ),
            *_gone(new.indexes, old.indexes, lambda _, text: text),
            *_rows(old, new),
        )
    )


@dataclass(frozen=True)
class _Table:
    name: str
    options: tuple[str, ...]  # around the columns, constraints without a name, and the statements of no other kind
    columns: dict[str, str]
    constraints: dict[str, str]
    indexes: dict[str, str]
    rows: dict[str, dict[str, dict[str, str]]]  # by table and first value: the values by column

    @classmethod
    def parse(cls, text: str) -> "_Table":
        statements = [each.strip() for each in _split(_plain(text), ";") if each.strip()]
        made = next((each for each in statements if _TABLE.match(each)), None)
        head = made and _TABLE.match(made)
        if not made or not head:
            raise DatabaseError("a file of sql/tables defines a table: CREATE TABLE name (…)")
        end = _closing(made, head.end() - 1)
        items = [each.strip() for each in _split(made[head.end() : end], ",")]
        unnamed = [each for each in items if _UNNAMED.match(each)]
        indexes = {match["name"]: each for each in statements if (match := _INDEX.match(each))}
        inserts = [match for each in statements if (match := _INSERT.match(each))]
        others = [
            each for each in statements if each is not made and not _INDEX.match(each) and not _INSERT.match(each)
        ]
        columns, constraints = {}, {each.split()[1]: each for each in items if each.startswith("CONSTRAINT ")}
        for item in items:
            if not item.startswith("CONSTRAINT ") and item not in unnamed:
                name = item.split()[0]
                columns[name], own = _apart(name, item)
                constraints |= own
        return cls(
            name=head["name"],
            options=(made[: head.start("name")], made[end + 1 :].strip(), *unnamed, *others),
            columns=columns,
            constraints=constraints,
            indexes=indexes,
            rows={match["table"]: dict(_inserted(match)) for match in inserts},
        )


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """What stands where: strings in one piece, space with its comments in another, everything else by character."""
    return ((match.start(), match.group()) for match in _PIECE.finditer(text))


def _plain(text: str) -> str:
    """The text on one line and without comments; strings are as they were."""
    return "".join(" " if piece.isspace() or piece.lstrip().startswith("--") else piece for _, piece in _pieces(text))


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that stand in no string and no brackets."""
    depth = begin = 0
    for at, piece in _pieces(text):
        depth += (piece == "(") - (piece == ")")
        if piece == separator and depth == 0:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens at `opening` closes."""
    depth = 0
    for at, piece in _pieces(text):
        if at >= opening:
            depth += (piece == "(") - (piece == ")")
            if depth == 0:
                return at
    raise DatabaseError("a bracket is never closed")


def _apart(column: str, item: str) -> tuple[str, dict[str, str]]:
    """A column without the constraints that have a name, and those as they would stand below the columns, by name."""
    kept: list[str] = []
    constraints: dict[str, str] = {}
    clauses = _CLAUSE.split(item)
    while clauses:
        clause = clauses.pop(0)
        if not clause.startswith("CONSTRAINT "):
            kept.append(clause)
            continue
        rule = clauses.pop(0)
        while rule.count("(") > rule.count(")"):
            rule += f" {clauses.pop(0)}"
        if rule.startswith("REFERENCES "):
            rule = f"FOREIGN KEY ({column}) {rule}"
        elif not rule.startswith("CHECK "):
            rule = f"{rule} ({column})"
        constraints[clause.split()[1]] = f"{clause} {rule}"
    return " ".join(kept), constraints


def _inserted(match: re.Match[str]) -> Iterator[tuple[str, dict[str, str]]]:
    columns = [column.strip() for column in match["columns"].split(",")]
    for row in _split(match["rows"], ","):
        values = [value.strip() for value in _split(row.strip()[1:-1], ",")]
        yield values[0], dict(zip(columns, values, strict=True))


def _gone(these: dict[str, str], others: dict[str, str], statement: Callable[[str, str], str]) -> Iterator[str]:
    """A statement for each of `these` that `others` has not, or has otherwise."""
    return (statement(name, text) for name, text in these.items() if others.get(name) != text)


def _unread(constraint: str) -> str:
    """Reading a large table while it is locked would stall everybody: https://squawkhq.com/docs/constraint-missing-not-valid"""
    return " NOT VALID" if constraint.split()[2] in {"CHECK", "FOREIGN"} else ""


def _columns(old: _Table, new: _Table) -> Iterator[str]:
    table = f"ALTER TABLE {new.name}"
    gone, come = set(old.columns) - set(new.columns), set(new.columns) - set(old.columns)
    if gone and come:
        raise DatabaseError(
            f"tables/{new.name}: {', '.join(sorted(gone))} would go and {', '.join(sorted(come))} come empty; freeze"
            " the new column, fill it by a RunSQL, and let the old one go in a migration of its own"
        )
    yield from (f"{table} DROP COLUMN {name}" for name in old.columns if name not in new.columns)
    for name, text in new.columns.items():
        if name not in old.columns:
            yield f"{table} ADD COLUMN {text}"
        elif text != old.columns[name]:
            yield from (f"{table} {action}" for action in _column(new.name, name, old.columns[name], text))


def _column(table: str, name: str, before: str, after: str) -> Iterator[str]:
    old_type, *old = _CLAUSE.split(before.removeprefix(name).strip())
    new_type, *new = _CLAUSE.split(after.removeprefix(name).strip())
    for clause in old:
        if clause not in new:
            yield _taken_away(table, name, clause)
    if old_type != new_type:
        yield f"ALTER COLUMN {name} TYPE {new_type}"
    for clause in new:
        if clause not in old:
            yield _given(table, name, clause)


def _taken_away(table: str, name: str, clause: str) -> str:
    if clause == "NOT NULL":
        return f"ALTER COLUMN {name} DROP NOT NULL"
    if clause.startswith("DEFAULT "):
        return f"ALTER COLUMN {name} DROP DEFAULT"
    raise _cannot(table, name, clause)


def _given(table: str, name: str, clause: str) -> str:
    if clause == "NOT NULL" or clause.startswith("DEFAULT "):
        return f"ALTER COLUMN {name} SET {clause}"
    raise _cannot(table, name, clause)


def _cannot(table: str, name: str, clause: str) -> DatabaseError:
    return DatabaseError(
        f"tables/{table}: {clause!r} of the column {name} cannot be frozen; write constraints on lines of their own"
        " below the columns, and for anything else make another column"
    )


def _rows(old: _Table, new: _Table) -> Iterator[str]:
    for table in (*old.rows, *(table for table in new.rows if table not in old.rows)):
        before, after = old.rows.get(table, {}), new.rows.get(table, {})
        for key, values in before.items():
            if key not in after:
                yield f"DELETE FROM {table} WHERE {next(iter(values))} = {key}"
        for key, values in after.items():
            if key not in before:
                yield f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
            elif changed := {name: value for name, value in values.items() if before[key].get(name) != value}:
                settings = ", ".join(f"{name} = {value}" for name, value in changed.items())
                yield f"UPDATE {table} SET {settings} WHERE {next(iter(values))} = {key}"
