"""Which statuses of a subscription entitle to its plan: the setting, and what of it the database knows.

The limits are judged in the database, also for callers that speak SQL alone, so the setting is written there by
`migrate` and `database init`. Until then the database's word holds, on every machine alike.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from glyphforge import audit

TABLE = "entitled_statuses"


def apply_after_migrate(using: str, **kwargs: Any) -> None:
    """Make the database follow ENTITLED_STATUSES, audited; a receiver of `post_migrate`."""
    follow(
        "ENTITLED_STATUSES",
        TABLE,
        sorted(settings.ENTITLED_STATUSES),
        named="statuses",
        known=in_database,
        statements=(
            f"DELETE FROM {TABLE} WHERE status <> ALL(%s)",
            f"INSERT INTO {TABLE} (status) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
        ),
        using=using,
    )


def follow(
    setting: str,
    table: str,
    wanted: Any,
    *,
    named: str,
    known: Callable[[str], Any],
    statements: Sequence[str],
    using: str,
) -> None:
    """Write a setting into its table, if that exists and says something else, with an audit row that says what was.

    `known` reads what the database says, which the audit calls `named`; each statement takes what is wanted.
    """
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        if cursor.fetchone() != (True,):
            return
    before = known(using)
    if before == wanted:
        return
    with (
        transaction.atomic(using=using),
        audit.acting_as(actor="migrate", kind="system"),
        connections[using].cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement, [wanted])
        audit.record(
            "entitle",
            table_name=table,
            reason=setting,
            old_values={named: before},
            new_values={named: wanted},
            using=using,
        )


def in_database(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """The statuses that entitle by the database's word, sorted; raises what the database raises."""
    with connections[using].cursor() as cursor:
        cursor.execute(f'SELECT status FROM {TABLE} ORDER BY status COLLATE "C"')
        return [status for (status,) in cursor.fetchall()]
