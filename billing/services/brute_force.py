"""Counts who fails to prove an identity, and stops a source that fails too often."""

from datetime import timedelta

from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from billing.models import AuthenticationFailure

Kind = AuthenticationFailure.Kind
WINDOW = timedelta(minutes=10)
LIMIT = 30  # failures of one source in the current and the previous window


def count_failure(kind: str, source: str, subject: str | None = None) -> None:
    """Counts one failure. The subject is what was tried and may be shown: a key's prefix, an account's name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count_authentication_failure(%s, %s, %s)", [kind, source, subject])


def is_stopped(kind: str, source: str) -> bool:
    """Whether the source has failed so often of late that it is not even checked; ends by itself within 20 minutes."""
    recent = AuthenticationFailure.objects.filter(
        kind=kind, source=source, window_start__gt=timezone.now() - 2 * WINDOW
    )
    return (recent.aggregate(total=Sum("failures"))["total"] or 0) >= LIMIT
