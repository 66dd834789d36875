"""A limit on how long something may take, enforced from inside the process and, failing that, by ending it."""

import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

GRACE_SECONDS = 30

_ends_at: ContextVar[float | None] = ContextVar("deadline", default=None)


class DeadlinePassed(KeyboardInterrupt):
    """The time is up.

    A KeyboardInterrupt, because psycopg then also cancels the statement that runs in the server, and because the
    `except Exception` of whatever hangs must not swallow it.
    """


def remaining_seconds() -> float | None:
    """What is left of the surrounding `deadline()`, at least a millisecond; None outside of one."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(ends_at - time.monotonic(), 0.001)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlinePassed inside the block after `seconds`; end the process 30 s later where even that is not heard.

    Only the main thread can be interrupted. Elsewhere the limit holds for the SQL that reads `remaining_seconds()`.
    """
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        if threading.current_thread() is threading.main_thread():
            with _alarm(seconds):
                yield
        else:
            yield
    finally:
        _ends_at.reset(token)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def expire(number: int, frame: FrameType | None) -> None:
        raise DeadlinePassed

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expire)
    # The queue's worker has an alarm of its own running: it gets back what is left of it.
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    # A C thread that needs no interpreter: it prints where the job hangs and ends the process.
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, handler)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - started), 0.001))
