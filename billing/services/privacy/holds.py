"""Legal holds: whose data has to be kept, whoever wants it erased."""

from django.db import transaction

from billing.models import User
from glyphforge.audit import acting_as
from glyphforge.audit.masking import mask
from glyphforge.errors import Refused
from glyphforge.text import storable


def place(user: User, *, actor: str, reason: str) -> None:
    """Keep the customer from being erased, for this reason. Refuses one who is held or erased already."""
    why = mask(storable(reason).strip())
    if not why:
        raise Refused("A legal hold needs a reason.")
    with acting_as(actor=actor, reason=why), transaction.atomic():
        row = User.objects.select_for_update().get(pk=user.pk)
        if row.erased_at:
            raise Refused(f"The customer was erased on {row.erased_at:%Y-%m-%d}.")
        if row.legal_hold:
            raise Refused(f"A legal hold is on the customer already: {row.legal_hold}")
        row.legal_hold = why
        row.save(update_fields=["legal_hold"])


def lift(user: User, *, actor: str, reason: str) -> None:
    """Let the customer be erased again. Refuses one on whom no hold is."""
    with acting_as(actor=actor, reason=reason), transaction.atomic():
        row = User.objects.select_for_update().get(pk=user.pk)
        if not row.legal_hold:
            raise Refused("No legal hold is on the customer.")
        row.legal_hold = None
        row.save(update_fields=["legal_hold"])
