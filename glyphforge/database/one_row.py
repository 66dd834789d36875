"""Loops over rows of others: what the database refuses of one row must not stop the rest."""

from collections.abc import Callable, Iterable

from django.db import DataError, Error, IntegrityError, transaction

from glyphforge.database.connection import one_line
from glyphforge.errors import LeftOut

# Beside wrong data and broken constraints: a row too large for an index, and what a trigger refuses.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CLASSES = ("22", "23", "54", "P0")


def is_about_the_row(error: Error) -> bool:
    """Whether the row that was written is what the database refuses; False for locks, connections, space and rights."""
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, DataError | IntegrityError) or sqlstate[:2] in _CLASSES


def each(names: Iterable[str], action: Callable[[str], int]) -> int:
    """Do something with each of them, under a savepoint of its own; the sum of what `action` returns.

    Raises LeftOut in the end, with those that the database refused and why.
    """
    done = 0
    left = []
    for name in names:
        try:
            with transaction.atomic():
                done += action(name)
        except Error as error:
            if not is_about_the_row(error):
                raise
            left.append(f"{name}: {one_line(error)}")
    if left:
        raise LeftOut(left, done=done)
    return done
