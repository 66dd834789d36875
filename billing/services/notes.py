"""What staff write down about a customer."""

from django.db import transaction

from billing.models import CustomerNote, User
from glyphforge.audit import acting_as, record
from glyphforge.audit.masking import found_in, mask
from glyphforge.errors import Refused
from glyphforge.text import storable

LONGEST = 2000


def add(user: User, *, author: str, body: str) -> CustomerNote:
    """Add a note to the customer, visible to all staff. API keys pasted into it are masked.

    Refuses an empty one, one over 2,000 characters, and one with the number of a card or a password.
    """
    if found := found_in(body):
        raise Refused(f"The note holds {found}, which is kept nowhere. Leave it out.")
    text = mask(storable(body).strip())
    if not text:
        raise Refused("A note needs words.")
    if len(text) > LONGEST:
        raise Refused(f"A note has at most {LONGEST:,} characters, not {len(text):,}.")
    with acting_as(actor=author), transaction.atomic():
        note = CustomerNote.objects.create(user=user, author=author, body=text)
        record("add_note", table_name="users", row_id=user.pk, reason=text)
    return note
