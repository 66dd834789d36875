"""How many queries each page costs, counted where the server answers it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.signals import request_finished, request_started
from django.db.backends.signals import connection_created

MOST = 20


class QueryLimit:
    """Names the pages that cost more than `MOST` queries, whichever thread of the server answered."""

    def __init__(self) -> None:
        self.seen = 0
        self.exceeded: list[str] = []
        self._request = threading.local()

    @contextmanager
    def held(self) -> Iterator["QueryLimit"]:
        """Counts while it is open."""
        pairs = [
            (connection_created, self._connected),
            (request_started, self._started),
            (request_finished, self._finished),
        ]
        for signal, receiver in pairs:
            signal.connect(receiver)
        yield self
        for signal, receiver in pairs:
            signal.disconnect(receiver)

    def _connected(self, connection: Any, **kwargs: Any) -> None:
        if self._count not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._count)

    def _started(self, environ: dict[str, Any], **kwargs: Any) -> None:
        self._request.page = environ["PATH_INFO"] if environ["REQUEST_METHOD"] == "GET" else ""
        self._request.queries = 0

    def _finished(self, **kwargs: Any) -> None:
        page, queries = getattr(self._request, "page", ""), getattr(self._request, "queries", 0)
        if page.startswith("/admin/"):
            self.seen += 1
            if queries > MOST:
                self.exceeded.append(f"{page}: {queries} queries")

    def _count(self, execute: Callable[..., Any], *args: Any) -> Any:
        self._request.queries = getattr(self._request, "queries", 0) + 1
        return execute(*args)
