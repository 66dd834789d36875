"""Whether a customer may use the API at all."""

from django.db import transaction

from billing.models import User
from glyphforge.audit import acting_as
from glyphforge.errors import Refused


def suspend(user: User, *, actor: str, reason: str) -> None:
    """Stop the customer's keys from working; subscription and payments go on. Refuses unless active."""
    _set_status(user, User.Status.ACTIVE, User.Status.SUSPENDED, actor=actor, reason=reason)


def reactivate(user: User, *, actor: str, reason: str) -> None:
    """Let a suspended customer's keys work again. Refuses unless suspended."""
    _set_status(user, User.Status.SUSPENDED, User.Status.ACTIVE, actor=actor, reason=reason)


def _set_status(user: User, before: User.Status, after: User.Status, *, actor: str, reason: str) -> None:
    # The audit trigger writes the row, with actor and reason.
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        row = User.objects.select_for_update().get(pk=user.pk)
        if row.erased_at:
            raise Refused(f"The customer was erased on {row.erased_at:%Y-%m-%d} and stays so.")
        if row.status != before:
            raise Refused(f"{row} is {row.get_status_display().lower()}, not {before.label.lower()}.")
        row.status = after
        row.save(update_fields=["status"])
