"""`unmatched_stripe_customers`: one row for each customer at Stripe that waits for support."""

from django.db import models
from django.db.models.functions import Now


class UnmatchedCustomer(models.Model):
    """A customer at Stripe that belongs to no customer here, waiting for support to link or create one."""

    stripe_customer_id = models.TextField("Stripe customer", primary_key=True)
    email = models.TextField("e-mail", null=True)
    name = models.TextField(db_default="")
    reason = models.TextField(help_text="Why it was not linked by itself.")
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "unmatched_stripe_customers"
        ordering = ["-first_seen_at"]

    def __str__(self) -> str:
        return self.stripe_customer_id
