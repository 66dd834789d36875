"""Counts who fails to prove an identity, and stops a source that fails too often.

The counts are rows of `authentication_failures` in PostgreSQL: the same for every process, readable by alerts.
"""

from datetime import timedelta

from django.db import connection

from glyphforge.web.client_address import source_of
from glyphforge.web.models import AuthenticationFailure

Kind = AuthenticationFailure.Kind
WINDOW = timedelta(minutes=10)
LIMIT = 30  # failures of one source in the current and the previous window


def count_failure(kind: Kind, source: str, subject: str | None = None) -> None:
    """Count one failure of `source`: an address, or what else is known of the caller; of IPv6 the /64.

    `subject` is what was tried and may be shown: a key's prefix, an account's name. The database keeps 200 characters
    of each.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT count_authentication_failure(%s, %s, %s)", [kind, source_of(source), subject])


def is_stopped(kind: Kind, source: str) -> bool:
    """Whether the source has failed so often of late that it is not even checked; ends by itself within 20 minutes.

    That is at least LIMIT failures of this kind in this window of ten minutes and the one before. Why:
    https://cheatsheetseries.owasp.org/cheatsheets/Authentication_Cheat_Sheet.html#protect-against-automated-attacks
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(failures), 0) >= %s FROM authentication_failures"
            " WHERE kind = %s AND source = %s AND window_start > clock_timestamp() - make_interval(secs => %s)",
            [LIMIT, kind, source_of(source), 2 * WINDOW.total_seconds()],
        )
        return bool(cursor.fetchone()[0])
