"""`stripe_requests`: written by `billing.stripe.requests` before Stripe is asked to change anything."""

from django.db import models
from django.db.models.functions import Now

from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import uuid_key


class StripeRequest(models.Model):
    """Something that Stripe was asked to change: what, of which object, by whom and why, and what became of it."""

    class Kind(models.TextChoices):
        REFUND = "refund", "Refund"
        CANCEL_NOW = "cancel_now", "Cancel now"
        CANCEL_AT_PERIOD_END = "cancel_at_period_end", "Cancel at period end"
        RESUME = "resume", "Resume"
        PAUSE_COLLECTION = "pause_collection", "Pause collection"
        RESUME_COLLECTION = "resume_collection", "Resume collection"
        TAG_CUSTOMER = "tag_customer", "Tag customer"
        CHANGE_PLAN = "change_plan", "Change plan"
        CHANGE_PLAN_AT_PERIOD_END = "change_plan_at_period_end", "Change plan at period end"
        RELEASE_SCHEDULE = "release_schedule", "Take back planned changes"
        EXTEND_TRIAL = "extend_trial", "Extend trial"
        APPLY_COUPON = "apply_coupon", "Apply coupon"
        REMOVE_COUPON = "remove_coupon", "Remove coupon"
        CREDIT = "credit", "Credit"
        VOID_INVOICE = "void_invoice", "Void invoice"
        MARK_PAID = "mark_paid", "Mark invoice paid"
        MARK_UNCOLLECTIBLE = "mark_uncollectible", "Mark invoice uncollectible"
        PAY_INVOICE = "pay_invoice", "Try payment now"

    class State(ToneChoices):
        ASKED = "asked", Tone.INFO, "Asked"
        DONE = "done", Tone.SUCCESS, "Done"
        REFUSED = "refused", Tone.NEUTRAL, "Refused"
        UNKNOWN = "unknown", Tone.WARNING, "Unknown"

    OPEN = frozenset({State.ASKED, State.UNKNOWN})

    id = uuid_key()
    kind = models.TextField(choices=Kind.choices)
    stripe_object_id = models.TextField("Stripe object", help_text="The charge, subscription, invoice or customer.")
    user = models.ForeignKey(User, verbose_name="customer", null=True, on_delete=models.SET_NULL, related_name="+")
    row_id = models.UUIDField(help_text="Our row that stands for the object.")
    parameters = models.JSONField(db_default={}, help_text="What was asked for; never a secret.")
    idempotency_key = models.TextField(unique=True, help_text="Stripe does nothing twice under one key.")
    state = models.TextField(choices=State.choices, db_default=State.ASKED)
    answer_id = models.TextField(null=True, help_text="What Stripe made or changed.")
    answer = models.TextField(db_default="", help_text="What Stripe said, or what it was seen by.")
    actor = models.TextField()
    reason = models.TextField()
    audit_id = models.BigIntegerField(null=True)
    asked_at = models.DateTimeField(db_default=Now())
    looked_at = models.DateTimeField(null=True, help_text="When Stripe was last asked what became of it.")
    settled_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "stripe_requests"
        ordering = ["-asked_at"]
        verbose_name = "request to Stripe"
        verbose_name_plural = "requests to Stripe"

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.stripe_object_id}"

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet what became of it."""
        return self.state in self.OPEN
