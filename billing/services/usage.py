"""Recording API requests in batches: the Python twin of the database's record_api_usage()."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from billing.models import ApiKey
from glyphforge.errors import Refused
from glyphforge.text import cut

LONGEST_ENDPOINT = 500  # characters
_COPY = (
    "COPY api_usage (user_id, api_key_id, endpoint, method, status_code, response_time_ms, request_bytes,"
    " response_bytes, ip_address, error_message, request_id, created_at) FROM STDIN"
)


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


def record_batch(requests: Iterable[Request]) -> int:
    """Record the requests in one transaction and return how many were counted.

    A request whose id was recorded for the same user before, or earlier in the batch, is left out. Refuses the whole
    batch when a key is unknown. Two batches at once never deadlock: both claim their ids in the same order.
    """
    batch = list(requests)
    with transaction.atomic():
        owners = _owners({request.api_key_id for request in batch})
        fresh = _claim({(owners[request.api_key_id], request.request_id) for request in batch if request.request_id})
        now = timezone.now()
        counted = 0
        with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for request in batch:
                owner = owners[request.api_key_id]
                if request.request_id:
                    if (owner, request.request_id) not in fresh:
                        continue
                    fresh.remove((owner, request.request_id))
                copy.write_row(_row(owner, request, now))
                counted += 1
    return counted


def _owners(keys: set[UUID]) -> dict[UUID, UUID]:
    owners = dict(ApiKey.objects.filter(id__in=keys).values_list("id", "user_id"))
    if unknown := keys - owners.keys():
        raise Refused(f"There is no API key {min(unknown)}.")
    return owners


def _claim(ids: set[tuple[UUID, str]]) -> set[tuple[UUID, str]]:
    """Those of the (user, request id) pairs that nobody has recorded yet; from now on they are."""
    if not ids:
        return set()
    users, request_ids = zip(*sorted(ids), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO api_usage_request_ids (user_id, request_id)"
            " SELECT claimed.user_id, claimed.request_id"
            " FROM unnest(%s::uuid[], %s::text[]) AS claimed (user_id, request_id)"
            " ORDER BY claimed.user_id, claimed.request_id"
            " ON CONFLICT (user_id, request_id) DO NOTHING RETURNING user_id, request_id",
            [list(users), list(request_ids)],
        )
        return set(cursor.fetchall())


def _row(owner: UUID, request: Request, now: datetime) -> tuple[object, ...]:
    return (
        owner,
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
