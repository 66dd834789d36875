"""What staff may do with alerts, each after a confirmation that asks for a note."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from billing.admin.operations import Operation, ReasonForm, counted
from monitoring.alerts import handling
from monitoring.models import Alert

HOURS = [("1", "1 hour"), ("4", "4 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week")]


class SnoozeForm(ReasonForm):
    """How long, and what is waited for."""

    hours = forms.ChoiceField(choices=HOURS, initial="4", label="For", widget=UnfoldAdminSelectWidget)
    field_order = ("hours", "reason")


class AlertOperation(Operation):
    """An operation on alerts in certain states."""

    permission = "monitoring.acknowledge_alert"
    on_selection = True
    states: Sequence[Alert.State]

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(state__in=self.states)

    def offered(self, row: Any) -> bool:
        return row.state in self.states


class Acknowledge(AlertOperation):
    name = "acknowledge"
    label = "Acknowledge"
    icon = "how_to_reg"
    states = (Alert.State.FIRING, Alert.State.SNOOZED)

    def effect(self, count: int) -> str:
        return f"Says that you look after {counted(count, 'alert')}. No more reminders, unless it gets worse."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        count = handling.acknowledge(rows.values_list("pk", flat=True), actor=actor, note=reason)
        return f"{counted(count, 'alert')} acknowledged."


class Snooze(AlertOperation):
    name = "snooze"
    label = "Snooze"
    icon = "snooze"
    form_class = SnoozeForm
    states = Alert.OPEN

    def effect(self, count: int) -> str:
        return f"Keeps {counted(count, 'alert')} quiet for a while. It comes back by itself, at once if it gets worse."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        until = timezone.now() + timedelta(hours=int(form.cleaned_data["hours"]))
        count = handling.snooze(rows.values_list("pk", flat=True), until=until, actor=actor, note=reason)
        return f"{counted(count, 'alert')} snoozed until {until:%Y-%m-%d %H:%M} UTC."


class Reopen(AlertOperation):
    name = "reopen"
    label = "Reopen"
    icon = "notifications_active"
    states = (Alert.State.ACKNOWLEDGED, Alert.State.SNOOZED)

    def effect(self, count: int) -> str:
        return f"{counted(count, 'alert')} will fire and remind again."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        count = handling.reopen(rows.values_list("pk", flat=True), actor=actor, note=reason)
        return f"{counted(count, 'alert')} reopened."


OPERATIONS = (Acknowledge(), Snooze(), Reopen())
