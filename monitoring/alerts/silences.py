"""Maintenance windows: what somebody is about to break on purpose is shown and counted, and told to nobody."""

from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from django.db import connection, transaction

from glyphforge.audit import acting_as
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused
from monitoring.models import Silence

LONGEST = timedelta(days=7)


def matching(pattern: str) -> list[str]:
    """The checks that the pattern names; `*` stands for any text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT check_name FROM known_checks() ORDER BY check_name")
        return [name for (name,) in cursor.fetchall() if fnmatchcase(name, pattern)]


def begin(pattern: str, *, starts: datetime, ends: datetime, actor: str, reason: str) -> Silence:
    """Silence the alerts of the checks that `pattern` names, from one moment to another; it ends by itself.

    Refuses a pattern that names no check, an end that is not after both the start and now, more than 7 days, and an
    empty reason.
    """
    if not reason.strip():
        raise Refused("Say what is done in the window: the reason is empty.")
    if not set(pattern) <= set("abcdefghijklmnopqrstuvwxyz0123456789_*") or not matching(pattern):
        raise Refused(f"{pattern!r} names no check: give the name of one, such as worker_silence, or *.")
    if not max(starts, database_time()) < ends <= starts + LONGEST:
        window = f"{starts:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
        raise Refused(f"A window from {window}: it must end after now, within 7 days of its start.")
    with transaction.atomic(), acting_as(actor=actor, reason=reason):
        return Silence.objects.create(
            check_pattern=pattern, starts_at=starts, ends_at=ends, reason=reason, created_by=actor
        )


def end(silence: Silence, *, actor: str, reason: str) -> None:
    """End the window now, or have one that has not begun never begin. Refuses one that is over."""
    with transaction.atomic(), acting_as(actor=actor, reason=reason):
        now = database_time()
        found = Silence.objects.select_for_update().filter(pk=silence.pk, ends_at__gt=now).first()
        if found is None:
            raise Refused("The window is over.")
        found.starts_at, found.ends_at = min(found.starts_at, now), now
        found.save(update_fields=["starts_at", "ends_at"])
