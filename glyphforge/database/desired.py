"""The desired state: what the SQL files beside the apps say that the database should hold."""

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from django.apps import apps
from django.db import Error, transaction
from psycopg import errors, sql

KINDS = ("tables", "functions", "views", "indexes", "triggers")
# What an object that comes too early fails with.
NOT_YET = (errors.UndefinedTable, errors.UndefinedFunction, errors.UndefinedObject, errors.UndefinedColumn)


def statements(packages: Iterable[str] = (), kinds: Iterable[str] = KINDS) -> Iterator[Traversable]:
    """The files of the packages, by default of every app: one object or one table's triggers each.

    They come kind by kind, and within a kind package by package, by name.
    """
    chosen = list(packages) or [config.name for config in apps.get_app_configs()]
    for kind in kinds:
        for package in chosen:
            folder = files(package).joinpath("sql", kind)
            if folder.is_dir():
                yield from sorted(
                    (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name
                )


def table_names() -> set[str]:
    """The tables that the files define."""
    return {file.name.removesuffix(".sql") for file in statements(kinds=["tables"])}


def view_names() -> set[str]:
    """The views that the files define."""
    return {file.name.removesuffix(".sql") for file in statements(kinds=["views"])}


def create_in_any_order(waiting: Iterable[Traversable], attempt: Callable[[str], bool]) -> list[Traversable]:
    """Attempt each file again and again until none gets any further; returns those that never succeeded.

    `attempt` gets a file's text and says whether it worked. A file that needs another one's object succeeds once that
    is there, so the files need no order.
    """
    left = list(waiting)
    while True:
        still = [file for file in left if not attempt(file.read_text(encoding="utf-8"))]
        if len(still) in {0, len(left)}:
            return still
        left = still


def build(cursor: Any, schema: str, stand_ins: Iterable[str]) -> None:
    """Create the schema and everything that is desired in it; belongs into a transaction that is rolled back.

    The stand-ins are statements that make what the files refer to but do not define; they run when a file needs them. A
    file that cannot be run raises the database's own error.
    """
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    cursor.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
    # Bodies name their own search path, which is not this schema's: they are compared, not run.
    cursor.execute("SET LOCAL check_function_bodies = off")
    left = create_in_any_order(statements(), lambda statement: _attempt(cursor, statement))
    for statement in stand_ins if left else ():
        cursor.execute(statement)
    left = create_in_any_order(left, lambda statement: _attempt(cursor, statement))
    # By now all of ours is here; what is still left needs an extension's object, which lives in public.
    cursor.execute(sql.SQL("SET LOCAL search_path = {}, public").format(sql.Identifier(schema)))
    for file in create_in_any_order(left, lambda statement: _attempt(cursor, statement)):
        cursor.execute(file.read_text(encoding="utf-8"))  # fails, and says why


def _attempt(cursor: Any, statement: str) -> bool:
    try:
        with transaction.atomic(using=cursor.db.alias):
            cursor.execute(statement)
    except Error as error:
        if isinstance(error.__cause__, NOT_YET):
            return False
        raise
    return True
