"""The one clock that all machines share is the database's: what is compared with rows is read from it."""

import time
from datetime import UTC, datetime

from django.db import DEFAULT_DB_ALIAS, connections


def database_time(alias: str = DEFAULT_DB_ALIAS) -> datetime:
    """Now, in UTC."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now.astimezone(UTC)


def seconds_behind() -> float:
    """By how much this machine's clock is behind the database's; negative where it is ahead."""
    began = time.time()
    now = database_time().timestamp()
    return now - (began + time.time()) / 2
