from django.db import models

from billing.models.fields import created_at, updated_at, uuid_key
from billing.models.user import User
from glyphforge.display import money


class Payment(models.Model):
    """One charge at Stripe, failed ones included."""

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        REFUNDED = "refunded", "Refunded"
        PARTIALLY_REFUNDED = "partially_refunded", "Partially refunded"
        DISPUTED = "disputed", "Disputed"

    id = uuid_key()
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="payments")
    stripe_invoice_id = models.TextField("Stripe invoice", null=True)
    stripe_payment_intent_id = models.TextField("Stripe payment intent", null=True)
    stripe_charge_id = models.TextField("Stripe charge", unique=True, null=True)
    amount_cents = models.BigIntegerField()
    currency = models.TextField(db_default="usd")
    status = models.TextField(choices=Status.choices, db_default=Status.PENDING)
    refunded_cents = models.BigIntegerField(db_default=0)
    failure_message = models.TextField(null=True)
    invoice_url = models.TextField(null=True)
    receipt_url = models.TextField(null=True)
    paid_at = models.DateTimeField(null=True)
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "payment_history"
        permissions = [("refund_payment", "Can refund a payment at Stripe")]

    def __str__(self) -> str:
        return money(self.amount_cents, self.currency)
