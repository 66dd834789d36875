"""Who watches is watched: a thread of the web process evaluates the alerts and sends when nobody else has.

The job `alerts` does so every minute in the worker, which may be stopped, hang or never have run. However many web
processes there are, the row of `alert_evaluations` gives the turn to one.
"""

import logging
import os
import socket
import threading
import time

from django.db import Error, connection

from glyphforge.database.budget import LOCK_SECONDS, SECONDS, limited
from monitoring.alerts import measuring
from monitoring.jobs.functions.alerts import process_alerts
from monitoring.jobs.outcome import JobFailed

POLL_SECONDS = 10
# So that a silence of the worker is told within three minutes.
QUIET_SECONDS = 150
# As often as the job would, while this has to stand in for it.
EVERY_SECONDS = 60

logger = logging.getLogger(__name__)


def start() -> None:
    """Start the thread in this process and in those that it forks; for the entry point of a web server only."""
    _start_thread()
    os.register_at_fork(after_in_child=_start_thread)


def _start_thread() -> None:
    threading.Thread(target=_run, name="watcher", daemon=True).start()


def _run() -> None:
    while True:
        time.sleep(POLL_SECONDS)
        try:
            look()
        except Exception:  # whatever it is, the next look may succeed: the database may be back by then
            logger.warning("The watcher could not look after the alerts", exc_info=True)
        finally:
            connection.close()


def look() -> bool:
    """Evaluate and send if nobody has for two and a half minutes; returns whether it was done.

    While it stands in it does so every minute. The clock is compared in any case, as the worker's machine may be
    another. Raises what the database raises when it is not there.
    """
    measuring.compare_clocks()
    if not _is_our_turn():
        return False
    try:
        process_alerts(by=_name())
    except JobFailed as problem:
        logger.warning("The watcher did what it could: %s", problem)
    return True


def _name() -> str:
    return f"web process on {socket.gethostname()}"


def _is_our_turn() -> bool:
    try:
        with limited(lock_seconds=LOCK_SECONDS, statement_seconds=SECONDS), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE alert_evaluations SET claimed_until = clock_timestamp() + %(every)s * interval '1 second'"
                " WHERE claimed_until <= clock_timestamp() AND evaluated_at < clock_timestamp() - interval '1 second'"
                " * CASE WHEN evaluated_by LIKE 'web process%%' THEN %(every)s ELSE %(quiet)s END",
                {"every": EVERY_SECONDS, "quiet": QUIET_SECONDS},
            )
            return bool(cursor.rowcount == 1)
    except Error as error:
        if getattr(error.__cause__, "sqlstate", None) is None:
            raise
        # Whose turn it is cannot be read while the row is locked: once too often is better than never.
        logger.warning("Who evaluated last cannot be read", exc_info=True)
        return True
