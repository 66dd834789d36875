"""Objects that were deleted at Stripe, remembered so that a late event cannot bring them back."""

from billing.models import Tombstone


def add_tombstone(kind: str, stripe_id: str) -> None:
    """Remember that the object is gone for good; doing it again changes nothing."""
    Tombstone.objects.bulk_create([Tombstone(stripe_id=stripe_id, kind=kind)], ignore_conflicts=True)


def has_tombstone(stripe_id: str) -> bool:
    """Whether the object was deleted at Stripe."""
    return Tombstone.objects.filter(stripe_id=stripe_id).exists()
