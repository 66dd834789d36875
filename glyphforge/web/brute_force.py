"""Counts who fails to prove an identity, and stops a source that fails too often.

The counts are rows of `authentication_failures` in PostgreSQL: the same for every process, readable by alerts.
"""

from datetime import timedelta
from enum import StrEnum

from django.db import connection

WINDOW = timedelta(minutes=10)
LIMIT = 30  # failures of one source in the current and the previous window


class Kind(StrEnum):
    """What somebody failed to prove."""

    API_KEY = "api_key"
    SERVICE_TOKEN = "service_token"  # noqa: S105 - a name
    STAFF_PASSWORD = "staff_password"  # noqa: S105 - a name
    STAFF_SECOND_FACTOR = "staff_second_factor"


def count_failure(kind: Kind, source: str, subject: str | None = None) -> None:
    """Counts one failure. The subject is what was tried and may be shown: a key's prefix, an account's name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count_authentication_failure(%s, %s, %s)", [kind, source, subject])


def is_stopped(kind: Kind, source: str) -> bool:
    """Whether the source has failed so often of late that it is not even checked; ends by itself within 20 minutes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(failures), 0) >= %s FROM authentication_failures"
            " WHERE kind = %s AND source = %s AND window_start > clock_timestamp() - make_interval(secs => %s)",
            [LIMIT, kind, source, 2 * WINDOW.total_seconds()],
        )
        return bool(cursor.fetchone()[0])
