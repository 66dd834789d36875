"""The page of backups and restore drills."""

from typing import Any

from django.contrib import admin
from django.template.defaultfilters import filesizeformat

from glyphforge.admin.columns import EMPTY, badge_column, moment_column, number
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.database.models import BackupRun


@admin.register(BackupRun)
class BackupRunAdmin(ReadOnlyModelAdmin):
    """Backups and restore drills, the latest first, and what was wrong with those that failed."""

    state = badge_column("status", BackupRun.Status, description="status")
    started = moment_column("started_at", description="started")
    finished = moment_column("finished_at", description="ended", ordering="finished_at")

    list_display = ("kind", "state", "finished", "size", "rows", "file", "error")
    list_filter = ("kind", "status")
    ordering = ("-finished_at",)
    fields = ("kind", "state", "error", "file", "size", "rows", "started", "finished")
    readonly_fields = ("state", "size", "rows", "started", "finished")

    @admin.display(description="size", ordering="bytes")
    def size(self, obj: BackupRun) -> str:
        """The size of the backup's file, in the unit that fits; a dash where the run failed before it was known."""
        return EMPTY if obj.bytes is None else str(filesizeformat(obj.bytes))

    @admin.display(description="rows", ordering="row_count")
    def rows(self, obj: Any) -> str:
        """How many rows were backed up or restored; a dash where the run failed."""
        return number(obj.row_count)
