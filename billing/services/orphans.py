"""Customers with a Stripe customer but without a live subscription row: they get the free plan."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction

from glyphforge.audit import acting_as, record


@dataclass(frozen=True)
class Orphan:
    """One customer that was, or would be, given the free plan.

    `action` is the database's word for what was done: `created_free_subscription`.
    """

    user_id: str
    email: str | None
    stripe_customer_id: str
    action: str


def preview() -> list[Orphan]:
    """List what `fix` would do now: it is done, and rolled back."""
    with transaction.atomic():
        found = _call()
        transaction.set_rollback(True)
    return found


def fix(*, actor: str, reason: str) -> list[Orphan]:
    """Give every orphan the free plan; returns them. A second call returns none."""
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        found = _call()
        for orphan in found:
            record("fix_orphan", table_name="users", row_id=orphan.user_id, reason=reason)
    return found


def _call() -> list[Orphan]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id, email, stripe_customer_id, action FROM fix_orphaned_stripe_customers()")
        return [Orphan(str(row[0]), *row[1:]) for row in cursor.fetchall()]
