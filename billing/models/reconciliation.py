"""`reconciliation_runs` and `reconciliation_differences`: written by `billing.stripe.reconciliation`."""

from django.db import models
from django.db.models.functions import Now

from billing.models.user import User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.rows import updated_at, uuid_key


class ReconciliationRun(models.Model):
    """One comparison with Stripe, resumable: what was asked for and how far it is."""

    class Status(ToneChoices):
        RUNNING = "running", Tone.INFO, "Running"
        PAUSED = "paused", Tone.WARNING, "Paused: budget used up"
        FINISHED = "finished", Tone.SUCCESS, "Finished"
        FAILED = "failed", Tone.DANGER, "Failed"

    class Phase(models.TextChoices):
        EVENTS = "events", "Events"
        CUSTOMERS = "customers", "Customers"
        SUBSCRIPTIONS = "subscriptions", "Subscriptions"
        CHARGES = "charges", "Charges"
        INVOICES = "invoices", "Invoices"
        UNSEEN = "unseen", "What Stripe did not list"

    id = uuid_key()
    status = models.TextField(choices=Status.choices, db_default=Status.RUNNING)
    phase = models.TextField(choices=Phase.choices, db_default=Phase.EVENTS)
    position = models.TextField(null=True, help_text="The last object of the last page.")
    ingest = models.BooleanField(db_default=False, help_text="Store events that never arrived.")
    repair = models.BooleanField(db_default=False, help_text="Bring differing rows in line.")
    events_from = models.DateTimeField()
    events_until = models.DateTimeField(help_text="Where the next run starts to list events.")
    request_budget = models.IntegerField()
    requests = models.IntegerField(db_default=0)
    to_compare = models.BigIntegerField(db_default=0, help_text="About how many there are, by what is known here.")
    compared = models.IntegerField(db_default=0)
    missing_events = models.IntegerField(db_default=0)
    differences_found = models.IntegerField(db_default=0)
    repaired = models.IntegerField(db_default=0)
    error = models.TextField(null=True)
    actor = models.TextField()
    reason = models.TextField()
    started_at = models.DateTimeField(db_default=Now())
    updated_at = updated_at()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "reconciliation_runs"
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M} ({self.get_status_display()})"

    @property
    def progress(self) -> str:
        """How many objects are compared, and of how many: about, until it has finished."""
        if self.status == self.Status.FINISHED:
            return f"{self.compared:,}"
        return f"{self.compared:,} of about {self.to_compare:,}"


class Difference(models.Model):
    """One field in which our tables and Stripe disagree."""

    class Kind(models.TextChoices):
        MISSING_LOCALLY = "missing_locally", "Missing locally"
        MISSING_AT_STRIPE = "missing_at_stripe", "Missing at Stripe"
        DIFFERS = "differs", "Differs"
        OTHER_OWNER = "other_owner", "Names another customer"

    class Status(ToneChoices):
        OPEN = "open", Tone.WARNING, "Open"
        REPAIRED = "repaired", Tone.SUCCESS, "Repaired"
        GONE = "gone", Tone.NEUTRAL, "Gone by itself"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(
        ReconciliationRun,
        on_delete=models.CASCADE,
        related_name="differences",
        null=True,
        help_text="Empty where an event brought it.",
    )
    kind = models.TextField(choices=Kind.choices)
    object_kind = models.TextField(help_text="event, customer, subscription, charge or invoice.")
    stripe_id = models.TextField()
    stripe_customer_id = models.TextField(null=True)
    user = models.ForeignKey(User, verbose_name="customer", on_delete=models.SET_NULL, null=True, related_name="+")
    field = models.TextField(db_default="")
    local_value = models.TextField(null=True)
    stripe_value = models.TextField(null=True)
    status = models.TextField(choices=Status.choices, db_default=Status.OPEN)
    note = models.TextField(null=True, help_text="Why it could not be repaired.")
    found_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "reconciliation_differences"
        ordering = ["-id"]
        permissions = [("repair_difference", "Can bring differing rows in line with Stripe")]

    def __str__(self) -> str:
        return f"{self.stripe_id} {self.field}".strip()
