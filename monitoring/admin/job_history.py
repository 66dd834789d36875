"""A job's past: its runs as a picture and in words."""

from collections.abc import Sequence
from datetime import timedelta
from statistics import median

from django.template.loader import render_to_string
from django.utils.html import format_html

from glyphforge.admin.columns import EMPTY, moment
from glyphforge.audit.models import AuditEntry
from monitoring.models import JobRun, JobSchedule

SHOWN_RUNS = 50
# The latest successes against those before them.
LATELY = 10
HEIGHT, STEP, LOWEST = 60, 12, 4


def duration_text(duration: timedelta | None) -> str:
    """`40 ms`, `2.5 s` or `3 min 20 s`."""
    if duration is None:
        return EMPTY
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def latest(schedule: JobSchedule) -> list[JobRun]:
    """The runs that the page shows, the latest first."""
    return list(JobRun.objects.filter(job=schedule.job).order_by("-started_at")[:SHOWN_RUNS])


def timeline(runs: Sequence[JobRun]) -> str:
    """The runs from the oldest to the latest: a bar each, as high as it took long, in the colour of how it ended."""
    if not runs:
        return format_html("{}", EMPTY)
    longest = max(map(_taken, runs)) or 1
    heights = [max(LOWEST, round(HEIGHT * taken / longest)) for taken in (_taken(run) for run in reversed(runs))]
    bars = [
        {
            "run": run,
            "tone": JobRun.Status(run.status).tone,
            "took": duration_text(run.duration),
            "x": number * STEP,
            "y": HEIGHT - height,
            "height": height,
        }
        for number, (run, height) in enumerate(zip(reversed(runs), heights, strict=True))
    ]
    counts = {status: sum(run.status == status for run in runs) for status in JobRun.Status.values}
    told = ", ".join(f"{count} {JobRun.Status(status).label.lower()}" for status, count in counts.items() if count)
    context = {
        "bars": bars,
        "width": SHOWN_RUNS * STEP,
        "height": HEIGHT,
        "bar_width": STEP - 2,
        "told": f"The last {len(runs)} runs, the latest on the right: {told}. The longest took"
        f" {duration_text(timedelta(seconds=longest))}.",
    }
    return render_to_string("monitoring/job_timeline.html", context)


def trend(runs: Sequence[JobRun]) -> str:
    """How long the latest successes took, as their median, against those before them."""
    taken = _seconds([run for run in runs if run.status == JobRun.Status.SUCCEEDED])
    lately, before = taken[:LATELY], taken[LATELY:]
    if not lately:
        return EMPTY
    text = duration_text(timedelta(seconds=median(lately)))
    if len(before) < LATELY:
        return text
    usual = median(before)
    change = round(100 * (median(lately) - usual) / usual) if usual else 0
    direction = f"{abs(change)} % {'longer' if change > 0 else 'shorter'} than" if abs(change) >= 10 else "as long as"
    return f"{text}, {direction} the {len(before)} before ({duration_text(timedelta(seconds=usual))})"


def failures_in_a_row(schedule: JobSchedule) -> str:
    """How many runs failed since the last success, and since when."""
    of_job = JobRun.objects.filter(job=schedule.job).order_by("-started_at")
    succeeded = of_job.filter(status=JobRun.Status.SUCCEEDED).first()
    failed = of_job.filter(status=JobRun.Status.FAILED)
    if succeeded:
        failed = failed.filter(started_at__gt=succeeded.started_at)
    times = list(failed.order_by("started_at").values_list("started_at", flat=True)[:1000])
    return format_html("{}, since {}", len(times), moment(times[0])) if times else "None"


def switched_off(schedule: JobSchedule) -> str:
    """Since when and by whom; who did it by SQL left no name."""
    if schedule.enabled:
        return EMPTY
    entry = (
        AuditEntry.objects.filter(table_name="job_schedules", row_id=schedule.job, action="switch_job")
        .order_by("-occurred_at")
        .first()
    )
    if entry is None or (entry.new_values or {}).get("enabled") is not False:
        return format_html("Not from here; seen first {}", moment(schedule.updated_at))
    return format_html("{} by {}: {}", moment(entry.occurred_at), entry.actor, entry.reason or "")


def _taken(run: JobRun) -> float:
    return run.duration.total_seconds() if run.duration else 0


def _seconds(runs: Sequence[JobRun]) -> list[float]:
    return [run.duration.total_seconds() for run in runs if run.duration is not None]
