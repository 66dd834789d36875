"""Which pages read from the replica, when there is one."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

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


class Router:
    """Sends the monitoring pages of `READ_FROM_REPLICA` to the replica and everything else to the primary.

    A database router: https://docs.djangoproject.com/en/5.2/topics/db/multi-db/#using-routers
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """The replica for a model of `READ_FROM_REPLICA`, else the primary."""
        label = model._meta.label_lower
        return ALIAS if label in READ_FROM_REPLICA else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """The primary: a replica refuses to write."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """Always, as a row read from the replica is a row of the primary."""
        return True  # both are the same database

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Never on the replica: what the primary does arrives there by itself."""
        return db != ALIAS
