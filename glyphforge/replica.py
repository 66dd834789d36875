"""Which pages read from the replica, when there is one and it answers."""

import logging
import time
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from glyphforge.database.connection import CONNECT_SECONDS, takes_a_connection

logger = logging.getLogger(__name__)

ALIAS = "replica"
# Heavy, and as useful some seconds late. Money, health and alerts are always read from the primary, and so is whatever
# somebody may be about to change.
READ_FROM_REPLICA = frozenset(
    {
        "monitoring.apikeyusage",
        "monitoring.apiusageday",
        "monitoring.highvolumeuser",
        "monitoring.repeatedfailure",
        "monitoring.slowendpoint",
        "monitoring.usergrowth",
    }
)

# So long one answer is believed: a page opened right after the replica has gone may fail, the next one does not.
BELIEVED_SECONDS = 5.0

_believed_until = 0.0
_answers = True


def is_there() -> bool:
    """Whether the replica took a connection within the last seconds; it is tried when nobody knows."""
    global _believed_until, _answers  # noqa: PLW0603 - what this process knows
    if time.monotonic() < _believed_until:
        return _answers
    # First, so that of many threads one waits.
    _believed_until = time.monotonic() + CONNECT_SECONDS + BELIEVED_SECONDS
    known, _answers = _answers, takes_a_connection(ALIAS)
    _believed_until = time.monotonic() + BELIEVED_SECONDS
    if known and not _answers:
        logger.warning("The replica does not answer: its pages read the primary until it does.")
    return _answers


class Router:
    """Sends the monitoring pages of `READ_FROM_REPLICA` to the replica and everything else to the primary.

    A database router: https://docs.djangoproject.com/en/5.2/topics/db/multi-db/#using-routers
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The replica for a model of `READ_FROM_REPLICA` while it answers, else the primary."""
        wanted = model._meta.label_lower in READ_FROM_REPLICA
        return ALIAS if wanted and is_there() else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """The primary: a replica refuses to write."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """Always, as a row read from the replica is a row of the primary."""
        return True  # both are the same database

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Never on the replica: what the primary does arrives there by itself."""
        return db != ALIAS
