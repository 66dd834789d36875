"""Which requests count against a month's limit: the setting, and what of it the database knows.

The database judges limits, also for callers that speak SQL alone: see `billing.services.entitlement`.
"""

from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from billing.services.entitlement import follow

TABLE = "quota_rule"


def apply_after_migrate(using: str, **kwargs: Any) -> None:
    """Make the database follow QUOTA_COUNTS, audited; a receiver of `post_migrate`."""
    follow(
        "QUOTA_COUNTS",
        TABLE,
        settings.QUOTA_COUNTS,
        named="counts",
        known=in_database,
        statements=(
            f"INSERT INTO {TABLE} (counts) VALUES (%s) ON CONFLICT (only_row) DO UPDATE SET counts = excluded.counts",
        ),
        using=using,
    )


def in_database(using: str = DEFAULT_DB_ALIAS) -> str | None:
    """What counts by the database's word, None where it says nothing; raises what the database raises."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT counts FROM {TABLE}")
        row = cursor.fetchone()
    return row[0] if row else None
