"""Work that outlives a broken connection: the server restarts, fails over, or ends the session."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

T = TypeVar("T")
logger = logging.getLogger(__name__)


def reconnecting(action: Callable[[], T], *, pauses: Iterable[float]) -> T:
    """Run `action`, which is a transaction of its own, again on a new connection each time the old one breaks.

    It may have been committed before the connection broke, so it must be one that may run twice. After each failure the
    next of `pauses`, in seconds, is waited; when there is none left the last try is made, and raises what it raises.
    Inside somebody else's transaction, which is gone with its connection, the first failure is raised.
    """
    for pause in pauses:
        try:
            return action()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise
            logger.warning("The database connection broke; taking another", exc_info=True)
            connection.close()
            time.sleep(pause)
    return action()
