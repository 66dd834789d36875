"""`payment_history`: written by `billing.stripe.projection.payments` from the charges at Stripe."""

from django.core.validators import MaxValueValidator
from django.db import models

from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.money import money
from glyphforge.rows import NOT_NEGATIVE, created_at, currency, updated_at, uuid_key


class Payment(models.Model):
    """One charge at Stripe, failed ones included, or one invoice that was paid outside of it.

    `refunded_cents`, `disputed_cents` and `paid_at` are sums of its movements: the database writes them.
    """

    class Status(ToneChoices):
        PENDING = "pending", Tone.INFO, "Pending"
        SUCCEEDED = "succeeded", Tone.SUCCESS, "Succeeded"
        FAILED = "failed", Tone.DANGER, "Failed"
        REFUNDED = "refunded", Tone.NEUTRAL, "Refunded"
        PARTIALLY_REFUNDED = "partially_refunded", Tone.WARNING, "Partially refunded"
        DISPUTED = "disputed", Tone.DANGER, "Disputed"

    id = uuid_key()
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.PROTECT, related_name="payments")
    stripe_customer_id = models.TextField("Stripe customer", null=True)
    stripe_invoice_id = models.TextField("Stripe invoice", null=True)
    stripe_payment_intent_id = models.TextField("Stripe payment intent", null=True)
    stripe_charge_id = models.TextField("Stripe charge", unique=True, null=True)
    # Twelve digits: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    amount_cents = models.BigIntegerField(validators=[NOT_NEGATIVE, MaxValueValidator(999_999_999_999)])
    currency = currency()
    status = models.TextField(choices=Status.choices, db_default=Status.PENDING)
    refunded_cents = models.BigIntegerField(db_default=0, validators=[NOT_NEGATIVE])
    disputed_cents = models.BigIntegerField(
        db_default=0, validators=[NOT_NEGATIVE], help_text="Taken by disputes that are open or lost."
    )
    paid_out_of_band = models.BooleanField("paid outside of Stripe", db_default=False)
    attempt_count = models.BigIntegerField("attempts", db_default=0, validators=[NOT_NEGATIVE])
    next_attempt_at = models.DateTimeField(null=True)
    failure_code = models.TextField(null=True)
    decline_code = models.TextField(null=True, help_text="What the bank said.")
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

    @property
    def left_cents(self) -> int:
        """What was charged and neither given back nor taken by a dispute, in the currency's smallest unit.

        Never below zero: a bank may take what was given back before.
        """
        return max(self.amount_cents - self.refunded_cents - self.disputed_cents, 0)
