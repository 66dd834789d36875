"""`stripe_customers`: written by `billing.stripe.projection` and by support; triggers keep the primary one."""

from django.db import models
from django.db.models.functions import Now

from billing.models.user import User


class StripeCustomer(models.Model):
    """A customer at Stripe and the user whose it is; a user may have several."""

    class Ownership(models.TextChoices):
        KNOWN = "known", "Known"
        PRESUMED = "presumed", "Presumed: nobody says whose it is"
        UNCLAIMED = "unclaimed", "Unlinked, waits for its owner"

    stripe_customer_id = models.TextField("Stripe customer", primary_key=True)
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="stripe_customers")
    is_primary = models.BooleanField(db_default=False)
    ownership = models.TextField(choices=Ownership.choices, db_default=Ownership.KNOWN)
    linked_by = models.TextField(db_default="", help_text="The actor of the transaction, where nothing else is said.")
    linked_at = models.DateTimeField(db_default=Now())
    chosen_at = models.DateTimeField(null=True, help_text="When somebody chose it as the primary one.")
    created_at = models.DateTimeField(null=True, help_text="At Stripe.")
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "stripe_customers"

    def __str__(self) -> str:
        return self.stripe_customer_id
