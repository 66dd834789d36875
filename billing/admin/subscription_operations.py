"""What staff may ask Stripe to do with a subscription."""

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing.admin.stripe_operation import SubscriptionOperation, told
from billing.models import Subscription
from billing.services import subscriptions
from billing.stripe import mirror
from glyphforge.admin.operations import GIVEN, ReasonForm

SHOWN = "the page shows it when Stripe's event has come."
RUNNING = {"stripe_subscription_id": GIVEN, "status": Subscription.LIVE}


class CancelForm(ReasonForm):
    """When the subscription is to end, and why; where usage is metered, also whether it is billed."""

    when = forms.ChoiceField(
        choices=[("period_end", "At the end of the paid period"), ("now", "Now")],
        widget=UnfoldAdminSelectWidget,
        help_text="Neither refunds anything.",
    )
    invoice_now = forms.BooleanField(
        label="Invoice the open usage, if it ends now", required=False, widget=UnfoldBooleanWidget
    )
    prorate = forms.BooleanField(
        label="Credit the rest of the period, if it ends now",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="As a part of that invoice, or of the customer's next one.",
    )
    field_order = ["when", "invoice_now", "prorate", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        row = rows.first()
        metered = mirror.metered_prices(str(row.stripe_subscription_id)) if row else []
        if metered:
            self.fields["invoice_now"].help_text = (
                f"Usage of {', '.join(metered)} is open: what is used since the period began is not billed yet. At the"
                " end of the period Stripe bills it; now it is lost unless it is invoiced."
            )
        else:
            del self.fields["invoice_now"], self.fields["prorate"]


class CancelSubscription(SubscriptionOperation):
    """Stripe is asked to end the subscription."""

    name = "cancel"
    label = "Cancel subscription"
    permission = "billing.cancel_subscription"
    icon = "cancel"
    danger = True
    form_class = CancelForm
    when = RUNNING

    def nothing(self, row: Subscription) -> str:
        canceled = row.status == Subscription.Status.CANCELED
        return "The subscription is canceled already." if canceled else super().nothing(row)

    def effect(self, count: int) -> str:
        return (
            "Stripe is asked to end the subscription, now or with its period. The row here changes when Stripe's event"
            " comes back; the customer then falls to the free plan."
        )

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        wanted = form.cleaned_data
        at_period_end = wanted["when"] == "period_end"
        request = subscriptions.cancel_subscription(
            row,
            actor=actor,
            reason=reason,
            at_period_end=at_period_end,
            invoice_now=wanted.get("invoice_now", False),
            prorate=wanted.get("prorate", False),
            token=form.token,
        )
        ends = "with its period" if at_period_end else "now"
        billed = " and invoices what is open" if request.parameters.get("invoice_now") else ""
        return told(f"Stripe ends {row.stripe_subscription_id} {ends}{billed}; {SHOWN}", request)


class ResumeSubscription(SubscriptionOperation):
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

    def effect(self, count: int) -> str:
        return "Stripe is asked to let the subscription go on beyond the end that is set, and to bill it again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        request = subscriptions.resume_subscription(row, actor=actor, reason=reason, token=form.token)
        return told(f"Stripe resumes {row.stripe_subscription_id}; {SHOWN}", request)


class PauseForm(ReasonForm):
    """What becomes of the invoices meanwhile, until when, and why."""

    behavior = forms.ChoiceField(
        label="Invoices meanwhile",
        choices=[
            ("keep_as_draft", "Stay drafts, to be collected later"),
            ("mark_uncollectible", "Are marked as uncollectible"),
            ("void", "Are void: the customer owes nothing"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    resumes_at = forms.SplitDateTimeField(
        label="Until",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="UTC. Empty pauses it until it is resumed here.",
    )
    field_order = ["behavior", "resumes_at", "reason"]

    def clean_resumes_at(self) -> datetime | None:
        resumes_at: datetime | None = self.cleaned_data["resumes_at"]
        if resumes_at and resumes_at <= timezone.now():
            raise forms.ValidationError(f"{resumes_at:%Y-%m-%d %H:%M} UTC is past.")
        return resumes_at


class PauseCollection(SubscriptionOperation):
    """Stripe goes on to make invoices and does not collect them."""

    name = "pause_collection"
    label = "Pause collection"
    permission = "billing.cancel_subscription"
    icon = "pause_circle"
    form_class = PauseForm
    when = {**RUNNING, "collection_paused": None}

    def effect(self, count: int) -> str:
        return "Stripe is asked to collect no invoice of the subscription for a time. The customer keeps the plan."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        request = subscriptions.pause_collection(
            row,
            actor=actor,
            reason=reason,
            behavior=form.cleaned_data["behavior"],
            resumes_at=form.cleaned_data["resumes_at"],
            token=form.token,
        )
        return told(f"Stripe collects no invoice of {row.stripe_subscription_id}.", request)


class ResumeCollection(SubscriptionOperation):
    """What was paused is collected again."""

    name = "resume_collection"
    label = "Resume collection"
    permission = "billing.cancel_subscription"
    icon = "play_circle"
    when = {**RUNNING, "collection_paused": GIVEN}

    def effect(self, count: int) -> str:
        return "Stripe is asked to collect the subscription's invoices again, if that is paused."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        request = subscriptions.resume_collection(row, actor=actor, reason=reason, token=form.token)
        return told(f"Stripe collects the invoices of {row.stripe_subscription_id} again.", request)


class TrialForm(ReasonForm):
    """When the trial is to end, and why."""

    until = forms.SplitDateTimeField(label="Until", widget=UnfoldAdminSplitDateTimeWidget, help_text="UTC.")
    field_order = ["until", "reason"]

    def clean_until(self) -> datetime:
        until: datetime = self.cleaned_data["until"]
        row = self.rows.first()
        if row and until <= row.trial_end:
            raise forms.ValidationError(f"The trial goes on until {row.trial_end:%Y-%m-%d %H:%M} UTC already.")
        return until


class ExtendTrial(SubscriptionOperation):
    """The trial ends later."""

    name = "extend_trial"
    label = "Extend trial"
    permission = "billing.change_plan"
    icon = "more_time"
    form_class = TrialForm
    when = {"stripe_subscription_id": GIVEN, "status": Subscription.Status.TRIALING, "trial_end": GIVEN}

    def describe(self, row: Subscription) -> str:
        return f"{row} of {row.user}, in its trial until {row.trial_end:%Y-%m-%d %H:%M} UTC"

    def effect(self, count: int) -> str:
        return "Stripe is asked to charge nothing until then. The first period that is paid begins when the trial ends."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row, until = rows.get(), form.cleaned_data["until"]
        request = subscriptions.extend_trial(row, actor=actor, reason=reason, until=until, token=form.token)
        return told(f"The trial of {row.stripe_subscription_id} ends on {until:%Y-%m-%d %H:%M} UTC.", request)


class CouponForm(ReasonForm):
    """Which coupon, and why."""

    coupon = forms.CharField(
        max_length=255, widget=UnfoldAdminTextInputWidget, help_text="Its id, as Stripe's dashboard has it."
    )
    field_order = ["coupon", "reason"]


class ApplyCoupon(SubscriptionOperation):
    """The subscription costs less by a coupon of Stripe's."""

    name = "apply_coupon"
    label = "Apply coupon"
    permission = "billing.change_plan"
    icon = "sell"
    form_class = CouponForm
    when = RUNNING

    def effect(self, count: int) -> str:
        return "Stripe is asked to take the coupon's discount off the invoices to come, beside what they have already."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row, coupon = rows.get(), form.cleaned_data["coupon"].strip()
        request = subscriptions.apply_coupon(row, actor=actor, reason=reason, coupon=coupon, token=form.token)
        return told(f"{row.stripe_subscription_id} has the coupon {coupon}; {SHOWN}", request)


class RemoveCouponForm(ReasonForm):
    """Which of the subscription's discounts, as they are known here, and why."""

    discount = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    field_order = ["discount", "reason"]

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        row = rows.first()
        discount: Any = self.fields["discount"]
        discount.choices = mirror.discounts_of(str(row.stripe_subscription_id)) if row else []
        if row and not discount.choices:
            discount.help_text = "The subscription has none of its own; one of the customer's is Stripe's."


class RemoveCoupon(SubscriptionOperation):
    """A discount is taken off the subscription."""

    name = "remove_coupon"
    label = "Remove coupon"
    permission = "billing.change_plan"
    icon = "remove"
    form_class = RemoveCouponForm
    when = RUNNING

    def effect(self, count: int) -> str:
        return "Stripe is asked to take nothing off the invoices to come for this coupon. Other discounts stay."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row, discount = rows.get(), form.cleaned_data["discount"]
        request = subscriptions.remove_coupon(row, actor=actor, reason=reason, discount=discount, token=form.token)
        return told(f"{row.stripe_subscription_id} has the discount no more; {SHOWN}", request)
