"""`payment_cases`: written by `billing.services.dunning`."""

from django.db import models

from billing.models.user import User
from glyphforge.rows import created_at, updated_at, uuid_key


class PaymentCase(models.Model):
    """Who looks after an invoice that is not paid, and until which day the customer was given time."""

    id = uuid_key()
    stripe_invoice_id = models.TextField("Stripe invoice", unique=True)
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="+")
    owner = models.TextField(null=True, help_text="Who looks after it.")
    extended_until_on = models.DateField("time until", null=True)
    extension_reason = models.TextField(null=True)
    extended_by = models.TextField(null=True)
    extended_at = models.DateTimeField(null=True)
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "payment_cases"
        default_permissions = ()

    def __str__(self) -> str:
        return self.stripe_invoice_id
