"""What every run of a job did."""

import json

from django.contrib import admin
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, badge_column, copyable_column, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from monitoring.admin.job_history import duration_text
from monitoring.admin.known_values import JobFilter
from monitoring.models import JobRun


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyModelAdmin):
    """The record of the jobs, the latest first."""

    state = badge_column("status", JobRun.Status, description="status")
    slot = moment_column("scheduled_for", description="slot")
    started = moment_column("started_at", description="started", ordering="started_at")
    finished = moment_column("finished_at", description="finished")
    row_id = copyable_column("id", description="id")

    list_display = ("job", "state", "slot", "started", "took", "rows", "trigger", "short_error")
    list_filter = ("status", ("job", JobFilter))
    sortable_by = ("started",)
    ordering = ("-started_at",)
    fieldsets = (
        (None, {"fields": ("job", "state", "error")}),
        ("Times", {"fields": ("slot", "started", "finished", "took")}),
        ("What it did", {"fields": ("rows", "content")}),
        ("Who", {"fields": ("trigger", "worker", "attempts", "row_id")}),
    )
    readonly_fields = ("state", "slot", "started", "finished", "took", "rows", "content", "row_id")

    @admin.display(description="took")
    def took(self, obj: JobRun) -> str:
        return duration_text(obj.duration)

    @admin.display(description="rows")
    def rows(self, obj: JobRun) -> str:
        return number(obj.rows_affected)

    @admin.display(description="error")
    def short_error(self, obj: JobRun) -> str:
        if not obj.problem:
            return EMPTY
        return format_html('<span class="gf-clip" title="{}">{}</span>', obj.problem, obj.problem)

    @admin.display(description="detail")
    def content(self, obj: JobRun) -> str:
        return format_html('<pre class="gf-json" tabindex="0">{}</pre>', json.dumps(obj.detail, indent=2))
