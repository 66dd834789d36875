"""One page fetched as a browser would, with what it cost."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.pages.page import Page

SHOWN_SQL = 400  # characters of a statement that is kept


@dataclass
class Cost:
    """Medians over the rounds and the quickest, in milliseconds, with the last round's statements, slowest first."""

    page: Page
    viewer: str
    queries: int
    database_ms: float
    total_ms: float
    quickest_ms: float
    read_whole: list[str]
    statements: list[tuple[float, str]] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """The promises that were not kept, in words."""
        found = []
        if self.total_ms > self.page.promised_ms:
            found.append(f"{self.total_ms:.0f} ms, {self.page.promised_ms} promised")
        if self.queries > self.page.promised_queries:
            found.append(f"{self.queries} queries, {self.page.promised_queries} promised")
        if self.read_whole:
            found.append(f"reads all of {', '.join(self.read_whole)}")
        return found


class _Stopwatch:
    """Times each statement; planning and fetching included."""

    def __init__(self) -> None:
        self.took: list[tuple[float, str]] = []

    def __call__(self, execute: Callable, sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.took.append(((time.perf_counter() - began) * 1000, sql))


def visit(client: Any, viewer: str, page: Page, rounds: int) -> Cost:
    """Fetches the page once to load its code, then `rounds` times."""
    from django.core.cache import cache
    from django.db import connection

    _fetch(client, page)
    queries, database, total = [], [], []
    watch = _Stopwatch()
    for _ in range(rounds):
        if page.is_cold:
            cache.clear()
        watch = _Stopwatch()
        with connection.execute_wrapper(watch):
            began = time.perf_counter()
            _fetch(client, page)
            total.append((time.perf_counter() - began) * 1000)
        queries.append(len(watch.took))
        database.append(sum(took for took, _ in watch.took))
    return Cost(
        page=page,
        viewer=viewer,
        queries=max(queries),
        database_ms=statistics.median(database),
        total_ms=statistics.median(total),
        quickest_ms=min(total),
        read_whole=_read_whole(client, page) if page.by_index else [],
        statements=sorted(((took, sql[:SHOWN_SQL]) for took, sql in watch.took), reverse=True),
    )


def _fetch(client: Any, page: Page) -> None:
    response = client.get(page.path)
    if response.status_code not in {200, 302}:
        raise SystemExit(f"{page.path} answers {response.status_code}")


def _read_whole(client: Any, page: Page) -> list[str]:
    """The large tables that a statement of the page reads from their start."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests.support import plans

    with CaptureQueriesContext(connection) as queries:
        _fetch(client, page)
    found: set[str] = set()
    with connection.cursor() as cursor:
        for query in queries.captured_queries:
            if "enable_seqscan" in query["sql"]:
                # The search forbids itself what only a missing index would make it do.
                cursor.execute(query["sql"].replace(" LOCAL", ""))
            elif query["sql"].startswith("SELECT "):
                found |= plans.read_whole(query["sql"])
        cursor.execute("RESET enable_seqscan")
    return sorted(found)
