"""`mrr_movements`: the ledger of recurring revenue, booked by triggers on `subscriptions` and never changed."""

from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models.functions import Now

from billing.models import Subscription, Tier, User
from glyphforge.choices import Tone, ToneChoices
from glyphforge.money import money


class MrrMovement(models.Model):
    """One change of what a customer pays a month, booked by the database with the subscription that caused it."""

    class Kind(ToneChoices):
        """Stripe's words; `docs/read-the-figures.md` defines them."""

        NEW = "new", Tone.SUCCESS, "New"
        EXPANSION = "expansion", Tone.SUCCESS, "Expansion"
        CONTRACTION = "contraction", Tone.WARNING, "Contraction"
        CHURN = "churn", Tone.DANGER, "Churn"
        REACTIVATION = "reactivation", Tone.SUCCESS, "Reactivation"

    class Origin(models.TextChoices):
        CHANGE = "change", "Recorded as it happened"
        HISTORY = "history", "Derived from the dates of the subscription"
        RECONCILED = "reconciled", "Found afterwards"

    id = models.BigAutoField(primary_key=True)
    occurred_at = models.DateTimeField(db_default=Now())
    user = models.ForeignKey(
        User, verbose_name="customer", on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    subscription = models.ForeignKey(Subscription, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    audit_id = models.BigIntegerField("audit entry", null=True)
    kind = models.TextField(choices=Kind.choices)
    currency = models.TextField()
    amount_cents = models.BigIntegerField(help_text="A month; negative when less is paid than before.")
    before_cents = models.BigIntegerField()
    after_cents = models.BigIntegerField()
    tier_before = models.TextField("plan before", choices=Tier.choices, null=True)
    tier_after = models.TextField("plan after", choices=Tier.choices, null=True)
    origin = models.TextField(choices=Origin.choices, db_default=Origin.CHANGE)

    class Meta:
        db_table = "mrr_movements"
        verbose_name = "MRR movement"

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {money(self.amount_cents, self.currency)}"


def rebuild_past(*, user_id: UUID, **kwargs: Any) -> None:
    """Date the movements of a customer who was taken over as Stripe does; a receiver of `past_of_customer`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rebuild_mrr_history_of(%s)", [user_id])


def refresh_days(**kwargs: Any) -> None:
    """Recompute all days after customers were taken over with their past; a receiver of `past_of_account`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT refresh_all_days()")
