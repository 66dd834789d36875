"""Maintenance windows: which alerts send no message, until when and why."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from glyphforge.admin.columns import badge, moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm, counted
from glyphforge.choices import Tone
from glyphforge.database.clock import database_time
from monitoring.alerts import silences
from monitoring.models import Silence

HOURS = [("1", "1 hour"), ("2", "2 hours"), ("4", "4 hours"), ("8", "8 hours"), ("24", "1 day"), ("168", "1 week")]


class SilenceForm(ReasonForm):
    """Which checks, from when and for how long."""

    checks = forms.CharField(
        max_length=100,
        initial="*",
        widget=UnfoldAdminTextInputWidget(),
        help_text="The name of a check as on the page Thresholds; * stands for any text, alone for every check.",
    )
    starts = forms.SplitDateTimeField(
        required=False, widget=UnfoldAdminSplitDateTimeWidget(), help_text="UTC. Empty: now."
    )
    hours = forms.ChoiceField(choices=HOURS, initial="1", label="For", widget=UnfoldAdminSelectWidget)
    field_order = ("checks", "starts", "hours", "reason")


class Begin(Operation):
    """Open a maintenance window."""

    name, label, icon = "silence", "Silence alerts", "notifications_off"
    permission = "monitoring.silence_alerts"
    on_one = False
    on_all = True
    makes_new = True
    form_class = SilenceForm

    def effect(self, count: int) -> str:
        return "Alerts of these checks send no message until the time is over. They are still shown and counted."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        said = form.cleaned_data
        starts = said["starts"] or database_time()
        ends = starts + timedelta(hours=int(said["hours"]))
        silences.begin(said["checks"].strip(), starts=starts, ends=ends, actor=actor, reason=reason)
        count = len(silences.matching(said["checks"].strip()))
        return f"{counted(count, 'check')} silenced until {ends:%Y-%m-%d %H:%M} UTC."


class End(Operation):
    """End a maintenance window before its time."""

    name, label, icon = "end", "End now", "notifications_active"
    permission = "monitoring.silence_alerts"

    def applicable(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.filter(ends_at__gt=Now())

    def offered(self, row: Any) -> bool:
        return bool(row.ends_at > timezone.now())

    def effect(self, count: int) -> str:
        return "The window ends now. What still fires is told at the next evaluation."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        silences.end(rows.get(), actor=actor, reason=reason)
        return "The window is over."


@admin.register(Silence)
class SilenceAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """The windows, the latest first."""

    operations = (Begin(), End())

    starts = moment_column("starts_at", description="from")
    ends = moment_column("ends_at", description="until", ordering="ends_at")
    created = moment_column("created_at", description="made")
    list_display = ("check_pattern", "state", "starts", "ends", "reason", "created_by")
    sortable_by = ()
    ordering = ("-ends_at",)
    nothing = "Nothing is silenced"
    fields = ("check_pattern", "state", "starts", "ends", "reason", "created_by", "created")
    readonly_fields = ("state", "starts", "ends", "created")

    @admin.display(description="state")
    def state(self, obj: Silence) -> SafeString:
        now = timezone.now()
        if obj.ends_at <= now:
            return badge("Over", Tone.NEUTRAL)
        return badge("Silenced", Tone.WARNING) if obj.starts_at <= now else badge("Not begun", Tone.INFO)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}
