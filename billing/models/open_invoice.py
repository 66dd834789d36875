"""`open_invoices`: written by `billing.stripe.projection.open_invoices`."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from billing.models.subscription import Subscription
from billing.models.user import User
from glyphforge.money import money
from glyphforge.rows import NOT_NEGATIVE, created_at, currency, updated_at, uuid_key


class OpenInvoice(models.Model):
    """An invoice of a live subscription that is not paid, or is about to be asked for; gone when paid or void."""

    class Status(models.TextChoices):
        """https://docs.stripe.com/api/invoices/object#invoice_object-status"""

        DRAFT = "draft", "Draft"
        OPEN = "open", "Open"
        UNCOLLECTIBLE = "uncollectible", "Uncollectible"

    id = uuid_key()
    stripe_invoice_id = models.TextField("Stripe invoice", unique=True)
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="open_invoices")
    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="open_invoices")
    number = models.TextField(null=True)
    status = models.TextField(choices=Status.choices)
    amount_due_cents = models.BigIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(999_999_999_999_999)], help_text="Still to be paid."
    )
    currency = currency()
    attempt_count = models.BigIntegerField(db_default=0, validators=[NOT_NEGATIVE])
    next_attempt_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    overdue_since = models.DateTimeField(null=True)
    failure_code = models.TextField(null=True, help_text="Of the last try.")
    decline_code = models.TextField(null=True, help_text="What the bank said at the last try.")
    hosted_invoice_url = models.TextField(null=True)
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "open_invoices"
        verbose_name = "unpaid invoice"
        permissions = [
            ("settle_invoice", "Can void an invoice, give it up or mark it as paid at Stripe"),
            ("collect_invoice", "Can have an unpaid invoice charged again"),
            ("chase_invoice", "Can look after an unpaid invoice: send its payment link, give the customer time"),
        ]

    def __str__(self) -> str:
        return f"{self.number or self.stripe_invoice_id}: {money(self.amount_due_cents, self.currency)}"
