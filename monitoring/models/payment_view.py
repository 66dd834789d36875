"""The views on what is not paid, what became of it, and what will not be."""

from django.db import models

from billing.models import Subscription, Tier
from glyphforge.money import money
from monitoring.models.customer_view import customer


class PaymentAtRisk(models.Model):
    """An invoice of a live subscription that is overdue; `id` is that of its row in `open_invoices`."""

    id = models.UUIDField(primary_key=True)
    user = customer()
    email = models.TextField("e-mail", null=True)
    stripe_invoice_id = models.TextField("Stripe invoice")
    amount_due_cents = models.BigIntegerField("to pay")
    currency = models.TextField()
    mrr_cents = models.BigIntegerField("MRR")
    attempt_count = models.BigIntegerField("tries")
    failure_code = models.TextField(null=True)
    next_attempt_at = models.DateTimeField("next try", null=True)
    overdue_since = models.DateTimeField()
    days_overdue = models.DecimalField(max_digits=12, decimal_places=2)
    number = models.TextField(null=True)
    tier = models.TextField("plan", choices=Tier.choices)
    subscription_status = models.TextField("status", choices=Subscription.Status.choices)
    decline_code = models.TextField(null=True)
    reason = models.TextField("why", null=True)
    card_brand = models.TextField(null=True)
    card_last4 = models.TextField(null=True)
    card_expires_on = models.DateField(null=True)
    last_contact_at = models.DateTimeField("last contact", null=True)
    owner = models.TextField(null=True)
    extended_until_on = models.DateField("time until", null=True)
    is_extended = models.BooleanField("has time", null=True)
    subscription = models.ForeignKey(Subscription, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")

    class Meta:
        managed = False
        db_table = "v_payments_at_risk"
        verbose_name = "payment at risk"
        verbose_name_plural = "payments at risk"

    def __str__(self) -> str:
        return f"{self.number or self.stripe_invoice_id}: {money(self.amount_due_cents, self.currency)}"


class PaymentRecovery(models.Model):
    """What became of a month's failed invoices of one code and currency: failed = recovered + lost + open."""

    id = models.TextField(primary_key=True)
    month = models.DateField()
    code = models.TextField()
    reason = models.TextField("why")
    currency = models.TextField()
    failed = models.BigIntegerField()
    recovered = models.BigIntegerField()
    lost = models.BigIntegerField()
    open = models.BigIntegerField()
    failed_cents = models.BigIntegerField("failed amount")
    recovered_cents = models.BigIntegerField("recovered amount")
    lost_cents = models.BigIntegerField("lost amount")
    open_cents = models.BigIntegerField("open amount")
    mean_days = models.DecimalField("days to recover", max_digits=12, decimal_places=2, null=True)
    recovered_percent = models.DecimalField(max_digits=12, decimal_places=2, null=True)

    class Meta:
        managed = False
        db_table = "v_payment_recovery"
        verbose_name = "month of recovery"
        verbose_name_plural = "recovery of failed payments"

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.code}"


class ExpiringCard(models.Model):
    """A subscription whose card will have expired when it is charged next."""

    subscription = models.OneToOneField(
        Subscription, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+", primary_key=True
    )
    user = customer()
    email = models.TextField("e-mail", null=True)
    card_brand = models.TextField(null=True)
    card_last4 = models.TextField(null=True)
    card_expires_on = models.DateField("expires")
    next_charge_at = models.DateTimeField("charged next")
    tier = models.TextField("plan", choices=Tier.choices)
    mrr_cents = models.BigIntegerField("MRR")
    currency = models.TextField()

    class Meta:
        managed = False
        db_table = "v_expiring_cards"

    def __str__(self) -> str:
        return f"{self.card_brand} {self.card_last4} of {self.email}"
