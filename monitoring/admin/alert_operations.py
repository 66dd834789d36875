"""What staff may do with alerts, each after a confirmation that asks for a note."""

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminSelectWidget

from glyphforge.admin.operations import Operation, ReasonForm, counted
from glyphforge.database.clock import database_time
from monitoring.alerts import triage

HOURS = [("1", "1 hour"), ("4", "4 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week")]


class SnoozeForm(ReasonForm):
    """How long, and what is waited for."""

    hours = forms.ChoiceField(choices=HOURS, initial="4", label="For", widget=UnfoldAdminSelectWidget)
    field_order = ("hours", "reason")


class AlertOperation(Operation):
    """An operation on alerts in certain states."""

    permission = "monitoring.acknowledge_alert"
    on_selection = True


class Acknowledge(AlertOperation):
    """Acknowledge it: somebody looks after it, the reminders stop."""

    name = "acknowledge"
    label = "Acknowledge"
    icon = "how_to_reg"
    when = {"state": triage.ACKNOWLEDGED_FROM}

    def effect(self, count: int) -> str:
        return f"Acknowledges {counted(count, 'alert')}: you look after it. No more reminders, unless it gets worse."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        count = triage.acknowledge(rows.values_list("pk", flat=True), actor=actor, note=reason)
        return f"{counted(count, 'alert')} acknowledged."


class Snooze(AlertOperation):
    """Snooze it: no messages for some hours, at most a week."""

    name = "snooze"
    label = "Snooze"
    icon = "snooze"
    form_class = SnoozeForm
    when = {"state": triage.SNOOZED_FROM}

    def effect(self, count: int) -> str:
        return f"Snoozes {counted(count, 'alert')} for a while. It comes back by itself, at once if it gets worse."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        until = database_time() + timedelta(hours=int(form.cleaned_data["hours"]))
        count = triage.snooze(rows.values_list("pk", flat=True), until=until, actor=actor, note=reason)
        return f"{counted(count, 'alert')} snoozed until {until:%Y-%m-%d %H:%M} UTC."


class Reopen(AlertOperation):
    """Take an acknowledgement or a snooze back."""

    name = "reopen"
    label = "Reopen"
    icon = "notifications_active"
    when = {"state": triage.REOPENED_FROM}

    def effect(self, count: int) -> str:
        return f"{counted(count, 'alert')} will fire and remind again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        count = triage.reopen(rows.values_list("pk", flat=True), actor=actor, note=reason)
        return f"{counted(count, 'alert')} reopened."


OPERATIONS = (Acknowledge(), Snooze(), Reopen())
