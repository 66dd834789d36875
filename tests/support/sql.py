"""SQL as somebody with psql writes it, on Django's connection: inside the test's transaction, where it has one."""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models.expressions import RawSQL

Row = dict[str, Any]
Run = Callable[..., list[tuple[Any, ...]]]


class SQL(RawSQL):
    """An expression that the database evaluates: a value for `insert` and for the factories."""

    def __init__(self, text: str) -> None:
        super().__init__(text, [])


def ago(interval: str) -> SQL:
    """The moment so long before the transaction's now(), as `interval` of PostgreSQL: `3 days`, `-1 hour`."""
    return SQL(f"now() - interval '{interval}'")


def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Executes a statement and returns its rows, an empty list when it has none."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def scalar(statement: str, *parameters: object) -> Any:
    """The first value of the first row."""
    return run(statement, *parameters)[0][0]


def query(statement: str, *parameters: object) -> list[Row]:
    """As `run`, with each row as a dictionary of its columns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in (cursor.fetchall() if names else ())]


def one(statement: str, *parameters: object) -> Row:
    """The only row; ValueError when there is none or more."""
    (row,) = query(statement, *parameters)
    return row


def insert(table: str, **values: object) -> Row:
    """Inserts a row, by column, and returns it whole: with what defaults and triggers added."""
    names, expressions, parameters = columns_of(values)
    return one(f"INSERT INTO {table} ({names}) VALUES ({expressions}) RETURNING *", *parameters)


def columns_of(values: dict[str, object]) -> tuple[str, str, list[object]]:
    """The names and the expressions of an INSERT, both separated by commas, and the parameters of the latter."""
    parameters = [value for value in values.values() if not isinstance(value, SQL)]
    names = ", ".join(f'"{name}"' for name in values)
    # Without parameters a per cent sign stands for itself.
    per_cent = "%%" if parameters else "%"
    expressions = (value.sql.replace("%", per_cent) if isinstance(value, SQL) else "%s" for value in values.values())
    return names, ", ".join(expressions), parameters
