"""The pages of replays in the background, with the button that stops one."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.html import format_html

from billing.models import ReplayRun
from billing.stripe.events import replay_runs
from glyphforge.admin.columns import badge_column, copyable_column, moment_column, preformatted
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm, counted


class StopReplay(Operation):
    """A replay in the background ends where it is."""

    name = "stop"
    label = "Stop"
    permission = "billing.stop_replayrun"
    icon = "stop_circle"
    when = {"status": ReplayRun.Status.RUNNING}

    def effect(self, count: int) -> str:
        return "The event that is being tried is finished; no other is tried. What was replayed stays replayed."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        run = rows.get()
        replay_runs.stop(run, actor=actor, reason=reason)
        return f"Stopped after {counted(run.done, 'event')}."


@admin.register(ReplayRun)
class ReplayRunAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Replays of stored events in the background, and how far they are."""

    operations = (StopReplay(),)
    state = badge_column("status", ReplayRun.Status, description="status")
    created = moment_column("created_at", description="started")
    finished = moment_column("finished_at", description="ended")
    row_id = copyable_column("id", description="id")

    list_display = ("created", "state", "progress", "processed", "failed", "skipped", "total", "actor", "reason")
    list_display_links = ("created",)
    sortable_by = ()
    fieldsets = (
        (None, {"fields": ("state", "progress", "processed", "failed", "skipped", "total")}),
        ("Asked for", {"fields": ("actor", "reason", "wanted", "events_per_minute")}),
        ("Times", {"fields": ("created", "finished", "row_id")}),
    )
    readonly_fields = ("state", "progress", "created", "finished", "wanted", "row_id")

    @admin.display(description="progress")
    def progress(self, obj: ReplayRun) -> str:
        return format_html(
            '<progress max="100" value="{0}" aria-label="{0} percent">{0} %</progress> {0} %', obj.percent
        )

    @admin.display(description="filter")
    def wanted(self, obj: ReplayRun) -> str:
        return preformatted(json.dumps(obj.filters, indent=2))
