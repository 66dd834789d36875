"""`payment_movements`: the money of payments, dated and signed; never changed, only added to."""

from django.db import models

from billing.models.payment import Payment
from glyphforge.choices import Tone, ToneChoices
from glyphforge.money import money
from glyphforge.rows import created_at, uuid_key


class PaymentMovement(models.Model):
    """One fact about a payment's money: what came in is positive, what went out again negative."""

    class Kind(ToneChoices):
        """`charge` is dated by its settlement, `refund` by its making, a dispute by withdrawal and reinstatement."""

        CHARGE = "charge", Tone.SUCCESS, "Paid"
        REFUND = "refund", Tone.WARNING, "Refunded"
        REFUND_FAILED = "refund_failed", Tone.INFO, "Refund failed"
        DISPUTE = "dispute", Tone.DANGER, "Disputed"
        DISPUTE_REVERSED = "dispute_reversed", Tone.SUCCESS, "Dispute reversed"

    class Origin(models.TextChoices):
        STRIPE = "stripe", "As Stripe has it"
        TOTALS = "totals", "From totals written into the payment"

    id = uuid_key()
    payment = models.ForeignKey(Payment, on_delete=models.DO_NOTHING, related_name="movements")
    kind = models.TextField(choices=Kind.choices)
    stripe_object_id = models.TextField(
        "Stripe object", help_text="The charge, refund or dispute; the invoice of what was paid elsewhere."
    )
    number = models.BigIntegerField(db_default=1, help_text="1, and more for what corrects or repeats the same fact.")
    amount_cents = models.BigIntegerField()
    currency = models.TextField()
    occurred_at = models.DateTimeField()
    origin = models.TextField(choices=Origin.choices, db_default=Origin.STRIPE)
    created_at = created_at()

    class Meta:
        db_table = "payment_movements"
        verbose_name = "payment movement"

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {money(self.amount_cents, self.currency)}"
