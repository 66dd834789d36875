from django.db import models

from billing.models.fields import created_at, updated_at, uuid_key
from billing.models.tier import Tier
from billing.models.user import User


class Subscription(models.Model):
    """One subscription of a customer, free or Stripe's; at most one of them is live."""

    class Status(models.TextChoices):
        """Stripe's words."""

        INCOMPLETE = "incomplete", "Incomplete"
        INCOMPLETE_EXPIRED = "incomplete_expired", "Incomplete, expired"
        TRIALING = "trialing", "Trialing"
        ACTIVE = "active", "Active"
        PAST_DUE = "past_due", "Past due"
        UNPAID = "unpaid", "Unpaid"
        PAUSED = "paused", "Paused"
        CANCELED = "canceled", "Canceled"

    class Interval(models.TextChoices):
        DAY = "day", "Daily"
        WEEK = "week", "Weekly"
        MONTH = "month", "Monthly"
        YEAR = "year", "Yearly"

    LIVE = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE, Status.UNPAID, Status.PAUSED})

    id = uuid_key()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="subscriptions")
    tier = models.TextField(choices=Tier.choices, db_default=Tier.FREE)
    status = models.TextField(choices=Status.choices, db_default=Status.ACTIVE)
    stripe_subscription_id = models.TextField("Stripe subscription", unique=True, null=True, blank=True)
    stripe_price_id = models.TextField("Stripe price", null=True, blank=True)
    quantity = models.IntegerField(db_default=1)
    price_cents = models.BigIntegerField(db_default=0, help_text="A month, after recurring discounts, before taxes.")
    currency = models.TextField(db_default="usd")
    interval = models.TextField(choices=Interval.choices, db_default=Interval.MONTH)
    current_period_start = models.DateTimeField(null=True, blank=True)
    current_period_end = models.DateTimeField(null=True, blank=True)
    cancel_at_period_end = models.BooleanField(db_default=False)
    canceled_at = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    monthly_request_limit = models.BigIntegerField(null=True, blank=True, help_text="Empty is unlimited.")
    usage_count = models.BigIntegerField(
        db_default=0, editable=False, help_text="Requests of this calendar month, UTC."
    )
    usage_synced_at = models.DateTimeField(null=True, editable=False)
    is_duplicate = models.BooleanField(
        db_default=False, help_text="A second subscription at Stripe: grants nothing and counts nowhere."
    )
    created_at = created_at()
    updated_at = updated_at()

    class Meta:
        db_table = "subscriptions"
        permissions = [("cancel_subscription", "Can cancel a subscription at Stripe")]

    def __str__(self) -> str:
        return f"{self.get_tier_display()} ({self.get_status_display()})"

    @property
    def is_live(self) -> bool:
        """Whether this row decides what the customer may use."""
        return self.status in self.LIVE and not self.is_duplicate
