"""`subscriptions`, written by `billing.stripe.projection.subscriptions`, and what the live ones entitle to.

Triggers set limits and guard counters.
"""

from __future__ import annotations

from datetime import datetime

from django.core.validators import MaxValueValidator
from django.db import models

from billing.models.tier import Tier
from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import NOT_NEGATIVE, created_at, currency, updated_at, uuid_key


class Subscription(models.Model):
    """One subscription of a customer, free or Stripe's; at most one of them is live and no duplicate."""

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

    class CollectionPaused(ToneChoices):
        """What becomes of the invoices while nothing is collected.

        https://docs.stripe.com/api/subscriptions/object#subscription_object-pause_collection-behavior
        """

        KEEP_AS_DRAFT = "keep_as_draft", Tone.WARNING, "Invoices are kept as drafts"
        MARK_UNCOLLECTIBLE = "mark_uncollectible", Tone.WARNING, "Invoices are marked uncollectible"
        VOID = "void", Tone.WARNING, "Invoices are voided"

    # The live ones. Of several live subscriptions of a customer the one with the first of these counts.
    BEST_FIRST = (Status.ACTIVE, Status.PAST_DUE, Status.TRIALING, Status.PAUSED, Status.UNPAID)
    LIVE = frozenset(BEST_FIRST)

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
    cancel_at = models.DateTimeField(null=True, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    collection_paused = models.TextField(choices=CollectionPaused.choices, null=True, blank=True)
    collection_resumes_at = models.DateTimeField(null=True, blank=True)
    stripe_schedule_id = models.TextField("Stripe schedule", null=True, blank=True)
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
        permissions = [
            ("cancel_subscription", "Can cancel a subscription at Stripe"),
            ("change_plan", "Can change at Stripe what a subscription costs"),
        ]

    def __str__(self) -> str:
        return f"{self.get_tier_display()} ({self.get_status_display()})"

    @property
    def is_live(self) -> bool:
        """Whether this row decides what the customer may use; `entitlement` says what that is."""
        return self.status in self.LIVE and not self.is_duplicate

    @property
    def is_set_to_end(self) -> bool:
        """Whether its end is set, with its period or at another moment."""
        return self.cancel_at_period_end or self.cancel_at is not None

    @property
    def ends_at(self) -> datetime | None:
        """When it ends if nobody changes that; None where no end is set."""
        return self.cancel_at or (self.current_period_end if self.cancel_at_period_end else None)

    @property
    def limit(self) -> int | None:
        """Requests a month that hold, of a row that is live by its entitlement; None is unlimited."""
        entitlement: Entitlement | None = getattr(self, "entitlement", None)
        return (entitlement or self).monthly_request_limit

    @property
    def extra_requests(self) -> int:
        """How many of `limit` are granted beyond the plan, of a row that entitles to it; 0 where it is unlimited."""
        entitlement: Entitlement | None = getattr(self, "entitlement", None)
        if entitlement is None or not entitlement.is_entitled:
            return 0
        return (self.limit or 0) - (self.monthly_request_limit or 0)


class Entitlement(models.Model):
    """What a customer's live subscription entitles to: its plan or, in a status that does not entitle, the free
    one, and the extra quota that is in force for all keys.

    Which statuses do is in `entitled_statuses`, see `billing.services.entitlement`.
    """

    subscription = models.OneToOneField(
        Subscription, primary_key=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="entitlement"
    )
    user = models.ForeignKey(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    tier = models.TextField("plan whose limits hold", choices=Tier.choices)
    is_entitled = models.BooleanField(help_text="No: its status does not entitle, so that the free plan's limits hold.")
    monthly_request_limit = models.BigIntegerField(null=True, help_text="Empty is unlimited.")
    rate_limit_per_minute = models.IntegerField(help_text="Requests a minute and key.")

    class Meta:
        db_table = "current_limits"
        managed = False

    def __str__(self) -> str:
        return f"{self.get_tier_display()}, {'entitled' if self.is_entitled else 'not entitled'}"
