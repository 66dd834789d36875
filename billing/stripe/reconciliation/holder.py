"""Who reconciles, or takes over an account: one process at a time, for as long as it lives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections

from glyphforge.errors import Refused

# Longer than anything between two signs of life takes. After it the server gives up on a machine that has vanished.
SILENCE = "15min"


class UnderWayError(Refused):
    """Another process does the same."""


@contextmanager
def held(what: str = "reconciliation") -> Iterator[Callable[[], None]]:
    """Be the one who does `what` until the block ends; yields what gives a sign of life. Raises UnderWayError.

    A lock of a transaction that stays open on a connection of its own: it is free the moment the process has died,
    also behind PgBouncer, which keeps a server's connection for one transaction and closes it with its client:
    https://www.pgbouncer.org/features.html
    """
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        own.set_autocommit(False)
        with own.cursor() as cursor:
            cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [SILENCE])
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [what])
            if not cursor.fetchone()[0]:
                raise UnderWayError(f"Another {what} is under way.")

            def alive() -> None:
                cursor.execute("SELECT")

            yield alive
    finally:
        own.close()
