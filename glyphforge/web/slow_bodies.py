"""A body that does not come is not waited for: a few senders of a byte now and then would hold every thread."""

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

SECONDS = 20.0  # for the whole of a body; the largest that is taken has a few MB
Application = Callable[..., Iterable[bytes]]


class SlowBodiesCut:
    """Around the WSGI application: ends the reading of a body that has not come within `SECONDS`.

    What has come by then is all that the application reads, and refuses. Gunicorn's own timeout is for a worker, not a
    request: https://docs.gunicorn.org/en/stable/settings.html#timeout
    """

    def __init__(self, application: Application, seconds: float = SECONDS) -> None:
        self._application, self._seconds = application, seconds

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as the application does, in time."""
        sender = environ.get("gunicorn.socket")
        if sender is None or not (environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING")):
            return self._application(environ, start_response)
        timer = threading.Timer(self._seconds, _stop_reading, (sender,))
        timer.daemon = True
        timer.start()
        try:
            return self._application(environ, start_response)
        finally:
            timer.cancel()


def _stop_reading(sender: socket.socket) -> None:
    with suppress(OSError):  # it went away by itself
        sender.shutdown(socket.SHUT_RD)
