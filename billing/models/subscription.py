"""`subscriptions`: written by `billing.stripe.projection.subscriptions`; triggers set limits and guard counters."""

from django.core.validators import MaxValueValidator
from django.db import models

from billing.models.tier import Tier
from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import NOT_NEGATIVE, created_at, currency, updated_at, uuid_key


class Subscription(models.Model):
    """One subscription of a customer, free or Stripe's; at most one of them is live."""

    class Status(ToneChoices):
        """Stripe's words: https://docs.stripe.com/api/subscriptions/object#subscription_object-status"""

        INCOMPLETE = "incomplete", Tone.WARNING, "Incomplete"
        INCOMPLETE_EXPIRED = "incomplete_expired", Tone.NEUTRAL, "Incomplete, expired"
        TRIALING = "trialing", Tone.INFO, "Trialing"
        ACTIVE = "active", Tone.SUCCESS, "Active"
        PAST_DUE = "past_due", Tone.WARNING, "Past due"
        UNPAID = "unpaid", Tone.DANGER, "Unpaid"
        PAUSED = "paused", Tone.WARNING, "Paused"
        CANCELED = "canceled", Tone.NEUTRAL, "Canceled"

    class Interval(models.TextChoices):
        DAY = "day", "Daily"
        WEEK = "week", "Weekly"
        MONTH = "month", "Monthly"
        YEAR = "year", "Yearly"

    LIVE = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE, Status.UNPAID, Status.PAUSED})

    id = uuid_key()
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.CASCADE, related_name="subscriptions")
    tier = models.TextField("plan", choices=Tier.choices, db_default=Tier.FREE)
    status = models.TextField(choices=Status.choices, db_default=Status.ACTIVE)
    stripe_subscription_id = models.TextField("Stripe subscription", unique=True, null=True, blank=True)
    stripe_customer_id = models.TextField("Stripe customer", null=True, editable=False)
    stripe_price_id = models.TextField("Stripe price", null=True, blank=True)
    quantity = models.BigIntegerField(db_default=1, validators=[NOT_NEGATIVE])
    price_cents = models.BigIntegerField(
        db_default=0,
        validators=[NOT_NEGATIVE, MaxValueValidator(999_999_999_999_999)],
        help_text="A month, after recurring discounts, before taxes.",
    )
    currency = currency()
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
