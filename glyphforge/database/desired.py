"""The desired state: what the SQL files beside the apps say that the database should hold."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from django.apps import apps
from django.db import Error, connection, transaction
from psycopg import errors, sql

KINDS = ("tables", "functions", "views", "indexes", "triggers")
# What an object that comes too early fails with.
_NOT_YET = (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedObject, errors.UndefinedColumn)


def statements() -> Iterator[Traversable]:
    """The files of every app, one object or one table's triggers each."""
    for kind in KINDS:
        for config in apps.get_app_configs():
            folder = files(config.module).joinpath("sql", kind) if config.module else None
            if folder is not None and folder.is_dir():
                yield from sorted(
                    (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name
                )


def build(cursor: Any, schema: str) -> None:
    """Creates the schema and everything that is desired in it; belongs into a transaction that is rolled back.

    A file that needs another one's object waits for the next round, so the files need no order. What no round can
    resolve may refer to a table of Django's, which is looked for in `public`.
    """
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    # Bodies name their own search path, which is not this schema's: they are compared, not run.
    cursor.execute("SET LOCAL check_function_bodies = off")
    waiting = list(statements())
    for path in (schema, f"{schema}, public"):
        cursor.execute(f"SET LOCAL search_path = {path}")
        while waiting:
            left = [file for file in waiting if not _apply(cursor, file)]
            if len(left) == len(waiting):
                break
            waiting = left
    for file in waiting:
        cursor.execute(file.read_text(encoding="utf-8"))  # fails, and says why


def _apply(cursor: Any, file: Traversable) -> bool:
    try:
        with transaction.atomic(using=connection.alias):
            cursor.execute(file.read_text(encoding="utf-8"))
    except Error as error:
        if isinstance(error.__cause__, _NOT_YET):
            return False
        raise
    return True
