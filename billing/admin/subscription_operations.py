"""What staff may ask Stripe to do with a subscription."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from unfold.widgets import UnfoldAdminSelectWidget

from billing.models import Subscription
from billing.services import subscriptions
from glyphforge.admin.operations import GIVEN, Operation, ReasonForm

RUNNING = {"stripe_subscription_id": GIVEN, "status": Subscription.LIVE}


class CancelForm(ReasonForm):
    """When the subscription is to end, and why."""

    when = forms.ChoiceField(
        choices=[("period_end", "At the end of the paid period"), ("now", "Now")],
        widget=UnfoldAdminSelectWidget,
        help_text="Neither refunds anything.",
    )
    field_order = ["when", "reason"]


class CancelSubscription(Operation):
    """Stripe is asked to end the subscription."""

    name = "cancel"
    label = "Cancel subscription"
    permission = "billing.cancel_subscription"
    icon = "cancel"
    danger = True
    form_class = CancelForm
    when = RUNNING

    def describe(self, row: Subscription) -> str:
        return f"{row} of {row.user} · {row.stripe_subscription_id}"

    def effect(self, count: int) -> str:
        return (
            "Stripe is asked to end the subscription, now or with its period. The row here changes when Stripe's event"
            " comes back; the customer then falls to the free plan."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        at_period_end = form.cleaned_data["when"] == "period_end"
        subscriptions.cancel_subscription(row, actor=actor, reason=reason, at_period_end=at_period_end)
        ends = "with its period" if at_period_end else "now"
        return f"Stripe ends {row.stripe_subscription_id} {ends}; the page shows it when Stripe's event has come."


class ResumeSubscription(Operation):
    """A cancellation at the end of the period, or at another moment to come, is taken back."""

    name = "resume"
    label = "Resume subscription"
    permission = "billing.cancel_subscription"
    icon = "undo"
    when = RUNNING

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return super().applicable(rows).filter(Q(cancel_at_period_end=True) | Q(cancel_at__isnull=False))

    def offered(self, row: Subscription) -> bool:
        return super().offered(row) and row.is_set_to_end

    def describe(self, row: Subscription) -> str:
        return f"{row} of {row.user} · {row.stripe_subscription_id}"

    def effect(self, count: int) -> str:
        return "Stripe is asked to let the subscription go on beyond the end that is set, and to bill it again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        subscriptions.resume_subscription(row, actor=actor, reason=reason)
        return f"Stripe resumes {row.stripe_subscription_id}; the page shows it when Stripe's event has come."
