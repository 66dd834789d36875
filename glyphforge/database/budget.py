"""Reading several things in a limited time: what is locked or slow is left out and named, the others are read."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from django.db import Error, connection, transaction
from psycopg import errors as pg

SECONDS = 4.0
LOCK_SECONDS = 1.0

logger = logging.getLogger(__name__)
Value = TypeVar("Value")


@contextmanager
def limited(*, lock_seconds: float, statement_seconds: float) -> Iterator[None]:
    """A transaction, or a savepoint of one, in which no statement waits for a lock or runs for longer.

    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT. Both limits end with the block.
    """
    inside = connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        limits = [f"{max(1, round(seconds * 1000))}ms" for seconds in (lock_seconds, statement_seconds)]
        cursor.execute(
            "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),"
            " set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            limits,
        )
        before = cursor.fetchone()[:2]
        yield
        if inside:
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)", before
            )


class Readings(Protocol):
    """What a page reads by: `missing` says by the name of a reading why there is no value."""

    missing: dict[str, str]

    def read(self, name: str, read: Callable[[], Value], default: Value) -> Value:
        """What `read` returns, or `default`."""


class _Together:
    """The readings as they come: one that fails, fails."""

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    def read(self, name: str, read: Callable[[], Value], default: Any) -> Value:
        return read()


def in_time(build: Callable[[Readings], Value], *, seconds: float = SECONDS) -> Value:
    """What `build` makes of its readings, within five seconds or little more than `seconds`.

    All are tried in one transaction, as nearly always nothing is in the way; where something is, each apart, so that
    the others are had. Raises what the database raises when it is not there at all.
    """
    try:
        with limited(lock_seconds=LOCK_SECONDS / 4, statement_seconds=seconds / 4):
            return build(_Together())
    except Error as error:
        if not _is_answer(error):
            raise
    return build(Budget(seconds))


def _is_answer(error: Error) -> bool:
    """Whether the server said so, which therefore is there."""
    return getattr(error.__cause__, "sqlstate", None) is not None


class Budget:
    """The time that a page has for all its readings together.

    `missing` says by the name of a reading why there is no value. With each that waited in vain for a lock the next may
    wait half as long.
    """

    def __init__(self, seconds: float = SECONDS, lock_seconds: float = LOCK_SECONDS) -> None:
        self.missing: dict[str, str] = {}
        self._ends_at = time.monotonic() + seconds
        self._lock_seconds = lock_seconds

    def read(self, name: str, read: Callable[[], Value], default: Value) -> Value:
        """What `read` returns, or `default` where the database does not give it in time.

        Raises what the database raises when it is not there at all.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            self.missing[name] = "The time for it was used up by what is locked or slow."
            return default
        try:
            with limited(lock_seconds=min(self._lock_seconds, left), statement_seconds=left):
                return read()
        except Error as error:
            if not _is_answer(error):
                raise
            logger.warning("%s cannot be read: %s", name, type(error.__cause__).__name__)
            self._lock_seconds /= 2
            self.missing[name] = self._problem(error)
            return default

    @staticmethod
    def _problem(error: Error) -> str:
        match error.__cause__:
            case pg.LockNotAvailable():
                return f"{', '.join(locked_tables()) or 'A table'} is locked."
            case pg.QueryCanceled():
                return "It takes too long."
            case pg.UndefinedTable() | pg.UndefinedColumn() | pg.UndefinedFunction():
                return "Something that it reads is missing: run manage.py database verify."
            case pg.InsufficientPrivilege():
                return "The application may not read it: run manage.py database init --roles."
        return "The database refused it."


def locked_tables() -> list[str]:
    """The tables that others hold so that nobody can read them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('table %s (by process %s)', c.relname, l.pid) FROM pg_locks AS l"
            " INNER JOIN pg_class AS c ON l.relation = c.oid AND c.relkind IN ('r', 'p', 'v')"
            " WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid() ORDER BY 1 LIMIT 5"
        )
        return [text for (text,) in cursor.fetchall()]
