"""Where a worker claims an event and ends its claim; the rules are in the database, for workers of any kind."""

from django.db import connection

from glyphforge.audit.masking import mask
from glyphforge.text import storable


def claim(event_id: str) -> bool:
    """Take the event for 15 minutes and count the attempt, in a commit of its own.

    False when another worker has it, or it is done or not due. An id that was never seen is stored as a stub, and
    claimed. The rules are those of `start_webhook_processing()`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT start_webhook_processing(%s)", [event_id])
        return bool(cursor.fetchone()[0])


def complete(event_id: str, error: str | None) -> bool:
    """End the processing: processed, or failed with `error`. False when it was no longer ours.

    What others' errors say may carry secrets, which are masked. A failed event waits 1, 5 and 30 minutes, then 2, 5 and
    10 hours, and is dead after the eighth attempt; the rules are those of `complete_webhook_processing()`.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT complete_webhook_processing(%s, %s)", [event_id, error and mask(storable(error))])
        return bool(cursor.fetchone()[0])
