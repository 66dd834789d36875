"""`payment_reminders`: written by `billing.services.dunning` before the e-mail is sent."""

from django.db import models
from django.db.models.functions import Now

from billing.models.user import User
from glyphforge.rows import uuid_key


class PaymentReminder(models.Model):
    """An e-mail that asks a customer to pay an invoice: to whom, by whom and why, and what became of it."""

    class State(models.TextChoices):
        ASKED = "asked", "On its way"
        SENT = "sent", "Sent"
        REFUSED = "refused", "Refused"

    id = uuid_key()
    stripe_invoice_id = models.TextField("Stripe invoice")
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="+")
    email = models.TextField("e-mail")
    token = models.TextField(unique=True, help_text="The confirmation's: it sends one message at most.")
    state = models.TextField(choices=State.choices, db_default=State.ASKED)
    answer = models.TextField(db_default="")
    actor = models.TextField()
    reason = models.TextField()
    asked_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "payment_reminders"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.stripe_invoice_id} to {self.email}"
