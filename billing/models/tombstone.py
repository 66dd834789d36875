"""`stripe_tombstones`: written by `billing.stripe.tombstones`, never deleted."""

from django.db import models
from django.db.models.functions import Now


class Tombstone(models.Model):
    """An object that was deleted at Stripe and stays deleted here, whatever arrives later."""

    stripe_id = models.TextField(primary_key=True)
    kind = models.TextField()
    deleted_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "stripe_tombstones"

    def __str__(self) -> str:
        return self.stripe_id
