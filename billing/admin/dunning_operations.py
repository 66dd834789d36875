"""What staff do about an invoice that is overdue: have it charged, write to the customer, give time, look after it."""

from datetime import date
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminSingleDateWidget

from billing.admin.stripe_operation import StripeOperation, told
from billing.models import OpenInvoice, StripeRequest
from billing.services import dunning, invoices, payment_links
from billing.services.dunning import LONGEST_EXTENSION, named
from glyphforge.admin.operations import Operation, ReasonForm
from glyphforge.database.clock import database_time
from glyphforge.money import money

OPEN = {"status": OpenInvoice.Status.OPEN}


def described(row: OpenInvoice) -> str:
    """The invoice, whose it is and what is left to pay, as confirmation pages name it."""
    return f"{named(row)} of {row.user}: {money(row.amount_due_cents, row.currency)}"


class OnOpenInvoice(Operation):
    """Changes what we know of an invoice that is owed; nothing at Stripe."""

    permission = "billing.chase_invoice"
    when = OPEN

    def describe(self, row: OpenInvoice) -> str:
        return described(row)

    def nothing(self, row: OpenInvoice) -> str:
        return f"The invoice is {row.get_status_display().lower()}: there is nothing to ask for."


class TryNow(StripeOperation):
    """What is left of the invoice is charged now, to the payment method at Stripe."""

    name = "try_now"
    label = "Try now"
    permission = "billing.collect_invoice"
    icon = "credit_card"
    when = {"status": invoices.SETTLED_FROM[StripeRequest.Kind.PAY_INVOICE]}

    def describe(self, row: OpenInvoice) -> str:
        return described(row)

    def effect(self, count: int) -> str:
        return "Stripe is asked to charge what is left of the invoice now. The next try stays planned if it fails."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        request = invoices.settle(row, StripeRequest.Kind.PAY_INVOICE, actor=actor, reason=reason, token=form.token)
        amount = money(row.amount_due_cents, row.currency)
        return told(f"Stripe charged {amount} for {named(row)}; it is paid here once the event comes.", request)


class SendPaymentLink(OnOpenInvoice):
    """The customer gets an e-mail with the link to pay the invoice."""

    name = "payment_link"
    label = "Send payment link"
    once = False  # the reminder keeps the token
    icon = "outgoing_mail"

    def describe(self, row: OpenInvoice) -> str:
        return f"{described(row)}, to {row.user.email or 'no e-mail address'}"

    def effect(self, count: int) -> str:
        return "The customer gets one e-mail with the link to Stripe's page, on which the invoice can be paid."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        reminder = payment_links.send(rows.get(), actor=actor, reason=reason, token=form.token)
        return f"The link was sent to {reminder.email}."

    def recall(self, token: str) -> str | None:
        return payment_links.recall(token)


class GiveUntilForm(ReasonForm):
    """Until which day the customer has time, and why."""

    until = forms.DateField(
        label="Until",
        widget=UnfoldAdminSingleDateWidget,
        help_text=f"The day included, UTC; {LONGEST_EXTENSION.days} days from now at most.",
    )
    field_order = ["until", "reason"]

    def clean_until(self) -> date:
        until: date = self.cleaned_data["until"]
        today = database_time().date()
        if not today <= until <= today + LONGEST_EXTENSION:
            last = today + LONGEST_EXTENSION
            raise forms.ValidationError(f"{until} is not within {today} to {last}.")
        return until


class GiveUntil(OnOpenInvoice):
    """The customer has time to pay until a day; no alert counts the invoice until then."""

    name = "give_until"
    label = "Give until"
    icon = "timer"
    form_class = GiveUntilForm

    def effect(self, count: int) -> str:
        return "The invoice raises no alert until the end of that day. Stripe's own tries go on."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row, until = rows.get(), form.cleaned_data["until"]
        dunning.give_until(row, until, actor=actor, reason=reason)
        return f"{row.user} has time until {until} to pay {named(row)}."


class TakeOver(OnOpenInvoice):
    """Whoever presses it looks after the invoice."""

    name = "take_over"
    label = "Take over"
    icon = "person_check"

    def effect(self, count: int) -> str:
        return "Your name stands as the owner of the invoice, for your colleagues to see."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        row = rows.get()
        dunning.take_over(row, actor=actor, reason=reason)
        return f"You look after {named(row)}."


DUNNING = (TryNow(), SendPaymentLink(), GiveUntil(), TakeOver())
