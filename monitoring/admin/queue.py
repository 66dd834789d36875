"""The queue behind the jobs: its workers, and the tasks that failed."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django_q.models import Failure, OrmQ, Schedule, Success

from glyphforge.admin.columns import moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.audit.masking import mask
from monitoring.models import WorkerHeartbeat

# A schedule whose arguments cannot be parsed stops every schedule: they are edited on the jobs' pages, with checks.
# Successful tasks are not kept. What is left of the queue's own pages is shown below, to read.
for _model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(_model)


@admin.register(Failure)
class FailedTaskAdmin(ReadOnlyModelAdmin):
    """Tasks of the queue that raised an error."""

    started_at = moment_column("started", description="started")
    stopped_at = moment_column("stopped", description="stopped")

    list_display = ("name", "func", "stopped_at", "attempt_count")
    sortable_by = ()
    ordering = ("-stopped",)
    nothing = "No task has failed"
    fields = ("name", "func", "started_at", "stopped_at", "attempt_count", "outcome")
    readonly_fields = ("started_at", "stopped_at", "outcome")

    @admin.display(description="error")
    def outcome(self, obj: Failure) -> str:
        return mask(str(obj.result))


@admin.register(WorkerHeartbeat)
class WorkerAdmin(ReadOnlyModelAdmin):
    """The processes of the queue and when each was last heard of."""

    started = moment_column("started_at", description="started")
    seen = moment_column("seen_at", description="last sign of life", ordering="seen_at")

    stopped = moment_column("stopped_at", description="stopped")

    list_display = ("host", "pid", "role", "seen", "task", "started", "stopped")
    list_display_links = None
    ordering = ("-seen_at",)
    nothing = "No worker has run"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}
