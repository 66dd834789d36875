"""Recording API requests in batches: the Python twin of the database's record_api_usage()."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg import errors as pg

from billing.models import ApiKey
from glyphforge.database.clock import database_time
from glyphforge.text import cut

logger = logging.getLogger(__name__)

LONGEST_ENDPOINT = 500  # characters
_COPY = (
    "COPY api_usage (user_id, api_key_id, endpoint, method, status_code, response_time_ms, request_bytes,"
    " response_bytes, ip_address, error_message, request_id, created_at) FROM STDIN"
)
_CLAIM = """
    INSERT INTO api_usage_request_ids (user_id, request_id, content_hash)
    SELECT sent.user_id, sent.request_id, hashtextextended(sent.content, 0)
    FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS sent (user_id, request_id, content)
    ORDER BY sent.user_id, sent.request_id
    ON CONFLICT (user_id, request_id) DO NOTHING
    RETURNING user_id, request_id
"""
# A row that somebody else is marking is marked: nobody waits.
_CONFLICTS = """
    WITH conflicts AS MATERIALIZED (
        SELECT sent.user_id, sent.request_id, sent.index
        FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::int[]) AS sent (user_id, request_id, content, index)
        INNER JOIN api_usage_request_ids AS known USING (user_id, request_id)
        WHERE known.content_hash <> hashtextextended(sent.content, 0)
    ), marked AS (
        UPDATE api_usage_request_ids SET conflicted_at = now()
        WHERE (user_id, request_id) IN (
            SELECT known.user_id, known.request_id FROM api_usage_request_ids AS known
            WHERE (known.user_id, known.request_id) IN (SELECT user_id, request_id FROM conflicts)
            FOR UPDATE SKIP LOCKED
        )
    )
    SELECT index FROM conflicts
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """What became of a request: see the API's description of `POST /usage`."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request, and what is wrong with one that was refused or is a conflict."""

    status: Status
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as an API server saw it; sizes in bytes, time in milliseconds.

    A `request_id` makes it count once per user, however often it is sent. `created_at` is now when left out.
    """

    api_key_id: UUID
    endpoint: str
    method: str
    status_code: int
    response_time_ms: int
    request_bytes: int | None = None
    response_bytes: int | None = None
    ip_address: str | None = None
    error_message: str | None = None
    request_id: str | None = None
    created_at: datetime | None = None

    @property
    def content(self) -> str:
        """What tells a request sent again from another one under its id; as record_api_usage() writes it."""
        parts = (
            self.api_key_id,
            self.endpoint,
            self.method,
            self.status_code,
            self.response_time_ms,
            self.request_bytes,
            self.response_bytes,
            (self.created_at - _EPOCH) // timedelta(microseconds=1) if self.created_at else None,
        )
        return "|".join("" if part is None else str(part) for part in parts)


@dataclass(frozen=True, slots=True)
class _Row:
    """A request of the batch: its place in it, and whose it is."""

    index: int
    owner: UUID
    request: Request

    @property
    def claim(self) -> tuple[UUID, str]:
        return self.owner, self.request.request_id or ""


def record_batch(requests: Iterable[Request]) -> list[Result]:
    """Record the requests in one transaction; returns what became of each, in their order.

    One whose id was recorded for the same user before, or earlier in the batch, is left out: a duplicate, or a conflict
    when it is not the same request. One whose key is unknown, or that the database does not take, is refused and stops
    no other. Two batches at once never deadlock: both claim their ids in the same order.
    """
    batch = list(requests)
    results: dict[int, Result] = {}
    rows: list[_Row] = []
    with transaction.atomic():
        owners = _owners({request.api_key_id for request in batch})
        for index, request in enumerate(batch):
            if owner := owners.get(request.api_key_id):
                rows.append(_Row(index, owner, request))
            else:
                results[index] = Result(Status.REFUSED, f"There is no API key {request.api_key_id}.")
        rows.sort(key=lambda row: row.claim)
        results |= _record(rows)
    _warn_of_conflicts(rows, results)
    return [results[index] for index in range(len(batch))]


def _owners(keys: set[UUID]) -> dict[UUID, UUID]:
    return dict(ApiKey.objects.filter(id__in=keys).values_list("id", "user_id"))


def _record(rows: list[_Row]) -> dict[int, Result]:
    """Record all rows at once; where the database refuses that, each half by itself, down to the rows that it means."""
    if not rows:
        return {}
    try:
        with transaction.atomic():
            return _write(rows)
    except (DatabaseError, ValueError) as error:
        if isinstance(error, OperationalError) and not isinstance(error.__cause__, pg.ProgramLimitExceeded):
            raise  # not about a row: a lost connection, a lock
        if len(rows) == 1:
            return {rows[0].index: Result(Status.REFUSED, f"The database does not take it: {_first_line(error)}")}
    middle = len(rows) // 2
    return _record(rows[:middle]) | _record(rows[middle:])


def _write(rows: list[_Row]) -> dict[int, Result]:
    fresh = _claim(rows)
    now = database_time()
    results: dict[int, Result] = {}
    left_out: list[_Row] = []
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            if row.request.request_id:
                if row.claim not in fresh:
                    left_out.append(row)
                    continue
                fresh.remove(row.claim)
            copy.write_row(_values(row, now))
            results[row.index] = Result(Status.RECORDED)
    conflicts = _conflicts(left_out)
    for row in left_out:
        results[row.index] = (
            Result(Status.CONFLICT, "Its request_id was recorded before, for another request.")
            if row.index in conflicts
            else Result(Status.DUPLICATE)
        )
    return results


def _claim(rows: list[_Row]) -> set[tuple[UUID, str]]:
    """Those of the rows' (user, request id) pairs that nobody has recorded yet; from now on they are."""
    first = {row.claim: row.request.content for row in reversed(rows) if row.request.request_id}
    if not first:
        return set()
    users, request_ids = zip(*first, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [list(users), list(request_ids), list(first.values())])
        return set(cursor.fetchall())


def _conflicts(rows: list[_Row]) -> set[int]:
    """The places of those rows whose id was recorded with other content, which is noted at the id."""
    if not rows:
        return set()
    users, request_ids = zip(*(row.claim for row in rows), strict=True)
    contents, places = [row.request.content for row in rows], [row.index for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(_CONFLICTS, [list(users), list(request_ids), contents, places])
        return {index for (index,) in cursor.fetchall()}


def _values(row: _Row, now: datetime) -> tuple[object, ...]:
    request = row.request
    return (
        row.owner,
        request.api_key_id,
        # What strangers determine is cut, as record_api_usage() does: no request is lost by it.
        cut(request.endpoint, LONGEST_ENDPOINT),
        request.method,
        request.status_code,
        request.response_time_ms,
        request.request_bytes,
        request.response_bytes,
        request.ip_address,
        request.error_message,
        request.request_id or None,
        request.created_at or now,
    )


def _warn_of_conflicts(rows: list[_Row], results: dict[int, Result]) -> None:
    counts = Counter(row.owner for row in rows if results[row.index].status == Status.CONFLICT)
    for owner, count in counts.items():
        logger.warning(
            "%s requests of customer %s are not counted: their ids were recorded for other requests", count, owner
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
