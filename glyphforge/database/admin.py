from typing import Any

from django.contrib import admin
from django.template.defaultfilters import filesizeformat

from billing.models import BackupRun
from glyphforge.admin import ReadOnlyModelAdmin
from glyphforge.display import EMPTY, Tone, badge_column, moment_column, number

BACKUP = {BackupRun.Status.SUCCEEDED: Tone.SUCCESS, BackupRun.Status.FAILED: Tone.DANGER}


@admin.register(BackupRun)
class BackupRunAdmin(ReadOnlyModelAdmin):
    """Backups and restore drills, the latest first, and what was wrong with those that failed."""

    state = badge_column("status", BACKUP, description="status")
    started = moment_column("started_at", description="started")
    finished = moment_column("finished_at", description="ended", ordering="finished_at")

    list_display = ("kind", "state", "finished", "size", "rows", "file", "error")
    list_filter = ("kind", "status")
    ordering = ("-finished_at",)
    fields = ("kind", "state", "error", "file", "size", "rows", "started", "finished")
    readonly_fields = ("state", "size", "rows", "started", "finished")

    @admin.display(description="size", ordering="bytes")
    def size(self, obj: BackupRun) -> str:
        return EMPTY if obj.bytes is None else str(filesizeformat(obj.bytes))

    @admin.display(description="rows", ordering="row_count")
    def rows(self, obj: Any) -> str:
        return number(obj.row_count)
