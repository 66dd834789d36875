"""The maintenance jobs: what they protect against, how their last runs went, when the next is due."""

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.contrib import admin
from django.db.models import Avg, BooleanField, DurationField, ExpressionWrapper, F, OuterRef, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.dataclasses import SearchResult
from unfold.widgets import UnfoldAdminTextInputWidget

from glyphforge.admin.columns import EMPTY, badge, choice_badge, column, moment_column
from glyphforge.admin.model_admin import ReadOnlyModelAdmin
from glyphforge.admin.operations import Operation, OperationsMixin, ReasonForm
from glyphforge.choices import Tone
from monitoring.admin import job_history
from monitoring.admin.job_history import duration_text
from monitoring.jobs import controls, registry
from monitoring.jobs.cron import is_cron
from monitoring.models import JobRun, JobSchedule

Found = TypeVar("Found")


class RunNow(Operation):
    """Queues a run of the job."""

    name, label, icon = "run", "Run now", "play_arrow"
    permission = "monitoring.run_job"

    def effect(self, count: int) -> str:
        return "The next free worker runs this job once, now. Its schedule stays as it is."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        name = rows.get().job
        if controls.run_now(name, actor=actor, reason=reason):
            return f"{name} is queued and runs in a moment."
        return f"{name} is queued, but no worker is alive: it runs when one starts."


class CronForm(ReasonForm):
    """The cron expression of a job."""

    cron = forms.CharField(
        label="Cron expression",
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Minute, hour, day of month, month, day of week, in UTC. 0 2 * * * is 02:00 every day.",
    )
    field_order = ("cron", "reason")

    def __init__(self, *args: Any, rows: QuerySet[Any], **kwargs: Any) -> None:
        super().__init__(*args, rows=rows, **kwargs)
        if row := rows.first():
            self.fields["cron"].initial = row.cron

    def clean_cron(self) -> str:
        cron = " ".join(self.cleaned_data["cron"].split())
        if not is_cron(cron):
            raise forms.ValidationError("This is no cron expression.")
        return cron


class Reschedule(Operation):
    """Gives the job another schedule."""

    name, label, icon = "reschedule", "Change schedule", "edit_calendar"
    permission = "monitoring.schedule_job"
    form_class = CronForm

    def effect(self, count: int) -> str:
        return "From now on the job runs at the times below. Slots that have passed are not made up for."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        name, cron = rows.get().job, form.cleaned_data["cron"]
        controls.reschedule(name, cron=cron, actor=actor, reason=reason)
        return f"{name} runs at {cron} (UTC)."


class SwitchOff(Operation):
    """Takes the job off the schedule."""

    name, label, icon, danger = "off", "Switch off", "pause", True
    permission = "monitoring.schedule_job"
    when = {"enabled": True}

    def effect(self, count: int) -> str:
        return "No scheduler runs this job until it is switched on again. What it protects against can then happen."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        name = rows.get().job
        controls.switch(name, on=False, actor=actor, reason=reason)
        return f"{name} is switched off."


class SwitchOn(Operation):
    """Puts the job back on the schedule."""

    name, label, icon = "on", "Switch on", "play_circle"
    permission = "monitoring.schedule_job"
    when = {"enabled": False}

    def effect(self, count: int) -> str:
        return "The job runs at its next slot again. Slots that have passed are not made up for."

    def carry_out(self, rows: QuerySet[Any], *, actor: str, reason: str, form: ReasonForm) -> str:
        name = rows.get().job
        controls.switch(name, on=True, actor=actor, reason=reason)
        return f"{name} is switched on."


def palette(request: HttpRequest, term: str) -> list[Any]:
    """Jobs for the command palette: each by its name, and `run` before it, for those who may run it."""
    if not request.user.has_perm(RunNow.permission):
        return []
    wanted = term.removeprefix("run").removeprefix(" job").strip()
    names = [name for name in registry.JOBS if wanted and name.startswith(wanted)]
    return [
        SearchResult(
            title=f"Run job {name}",
            description=registry.JOBS[name].protects_against,
            link=reverse("admin:monitoring_jobschedule_run", args=[name]),
            icon=RunNow.icon,
        )
        for name in names
    ]


def _once(schedule: JobSchedule, find: Callable[[JobSchedule], Found]) -> Found:
    """What `find` finds, asked for once a page: the template asks for a field several times."""
    kept: dict[str, Any] = schedule.__dict__.setdefault("_found", {})
    if find.__name__ not in kept:
        kept[find.__name__] = find(schedule)
    found: Found = kept[find.__name__]
    return found


@admin.register(JobSchedule)
class JobAdmin(OperationsMixin, ReadOnlyModelAdmin):
    """Every job with its state; its page shows the history and offers the operations."""

    operations = (RunNow(), Reschedule(), SwitchOff(), SwitchOn())

    last_success = moment_column("last_success_at", description="last success")
    next_run = moment_column("next_due_at", description="next run")

    cron_text = column("cron", lambda cron: format_html('<code class="gf-nowrap">{}</code>', cron), description="cron")

    list_display = ("job", "state", "cron_text", "last_success", "next_run", "usual_duration", "description")
    ordering = ("job",)
    fieldsets = (
        (None, {"fields": ("job", "description", "state", "problem", "failures", "off_since")}),
        ("Schedule (UTC)", {"fields": ("cron", "next_run", "last_success", "limit")}),
        ("Latest runs", {"fields": ("timeline", "trend", "history")}),
    )
    readonly_fields = (
        "state", "problem", "failures", "off_since", "next_run", "last_success", "limit", "timeline", "trend",
        "history",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobSchedule]:
        latest, ended, succeeded = (
            JobRun.last(kind).filter(job=OuterRef("job")) for kind in ("latest", "ended", "succeeded")
        )
        overdue = "SELECT h.is_overdue FROM job_health AS h WHERE h.job = job_schedules.job"
        took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
        successes = JobRun.objects.filter(job=OuterRef("job"), status=JobRun.Status.SUCCEEDED).values("job")
        queryset: QuerySet[JobSchedule] = super().get_queryset(request)
        return queryset.annotate(
            is_overdue=RawSQL(overdue, [], BooleanField()),  # noqa: S611 - a constant
            last_status=Subquery(latest.values("status")),
            last_error=Subquery(ended.values("error")),
            last_reason=Subquery(ended.values("detail__reason")),
            last_success_at=Subquery(succeeded.values("finished_at")),
            usually_takes=Subquery(successes.annotate(took=Avg(took)).values("took")),
        )

    @admin.display(description="state")
    def state(self, obj: Any) -> SafeString:
        if obj.last_status == JobRun.Status.RUNNING:
            return badge("Running", Tone.INFO)
        if not obj.enabled:
            return badge("Switched off", Tone.NEUTRAL)
        if obj.is_overdue:
            return badge("Overdue", Tone.DANGER)
        if obj.last_status is None:
            return badge("Not run yet", Tone.NEUTRAL)
        status = JobRun.Status(obj.last_status)
        return choice_badge(status)

    @admin.display(description="trouble")
    def problem(self, obj: Any) -> str:
        return obj.last_error or obj.last_reason or EMPTY

    @admin.display(description="usually takes")
    def usual_duration(self, obj: Any) -> str:
        return duration_text(obj.usually_takes)

    @admin.display(description="stopped after")
    def limit(self, obj: JobSchedule) -> str:
        return f"{obj.timeout_seconds} s"

    @admin.display(description="failures in a row")
    def failures(self, obj: JobSchedule) -> str:
        return _once(obj, job_history.failures_in_a_row)

    @admin.display(description="switched off since")
    def off_since(self, obj: JobSchedule) -> str:
        return _once(obj, job_history.switched_off)

    @admin.display(description="timeline")
    def timeline(self, obj: JobSchedule) -> str:
        return job_history.timeline(_once(obj, job_history.latest))

    @admin.display(description="takes lately")
    def trend(self, obj: JobSchedule) -> str:
        return job_history.trend(_once(obj, job_history.latest))

    @admin.display(description="")
    def history(self, obj: JobSchedule) -> str:
        runs = _once(obj, job_history.latest)
        if not runs:
            return format_html("{}", EMPTY)
        seconds = [run.duration.total_seconds() if run.duration else 0 for run in runs]
        rows = [
            {
                "run": run,
                "took": duration_text(run.duration),
                "seconds": taken,
                "tone": JobRun.Status(run.status).tone,
            }
            for run, taken in zip(runs, seconds, strict=True)
        ]
        return render_to_string("monitoring/job_history.html", {"rows": rows, "longest": max(*seconds, 0.001)})
