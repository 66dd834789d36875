"""The schedules: django-q2's rows, which operators may edit, and their mirror `job_schedules`, which SQL can read."""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django_q.models import Schedule

from glyphforge.audit.context import current
from glyphforge.database import installation
from glyphforge.database.clock import database_time
from monitoring.jobs.cron import intervals, is_cron, latest_slot, slot_after, slot_before
from monitoring.jobs.registry import JOBS, Job
from monitoring.models import JobRun, JobSchedule

FUNCTION = "monitoring.jobs.runner.run_slot"
SHORTEST_GRACE = timedelta(minutes=3)
LONGEST_GRACE = timedelta(minutes=30)
# The worker must outlive the job's own limit, so that the run's row can say what happened.
WORKER_GRACE_SECONDS = 60


def install() -> None:
    """Have a schedule for every job and none for jobs that are gone. What operators set stays as it is.

    The fields are django-q2's: https://django-q2.readthedocs.io/en/master/schedules.html
    """
    for job in JOBS.values():
        ours = {
            "func": FUNCTION,
            "args": repr((job.name,)),
            "kwargs": repr({"q_options": {"timeout": job.timeout_seconds + WORKER_GRACE_SECONDS}}),
            "intended_date_kwarg": "scheduled_for",
        }
        found = Schedule.objects.filter(name=job.name).order_by("pk").first()
        if found is None:
            Schedule.objects.create(name=job.name, schedule_type=Schedule.CRON, cron=job.cron, **ours)
        else:
            Schedule.objects.filter(pk=found.pk).update(**ours)
        mirror(job.name)
    Schedule.objects.filter(func=FUNCTION).exclude(name__in=JOBS).delete()
    JobSchedule.objects.exclude(job__in=JOBS).delete()


def install_after_migrate(using: str, **kwargs: Any) -> None:
    """Install the schedules after a `post_migrate`, once the migrations of both apps have made their tables."""
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        if using != connection.alias or not {"django_q_schedule", "job_schedules"} <= tables:
            return
        columns = {column.name for column in connection.introspection.get_table_description(cursor, "job_schedules")}
    # After a way back the table may be that of an earlier release.
    if columns >= {field.column for field in JobSchedule._meta.concrete_fields}:
        install()


def cron_of(job: Job) -> tuple[str, bool]:
    """The cron expression that holds for the job, and whether its schedule is switched on.

    The registry's expression holds where the operators' is none; without a schedule the job is off.
    """
    schedule = Schedule.objects.filter(name=job.name).order_by("pk").first()
    if schedule is None:
        return job.cron, False
    edited = schedule.schedule_type == Schedule.CRON and is_cron(schedule.cron)
    return (str(schedule.cron) if edited else job.cron), schedule.repeats != 0


def mirror(name: str) -> None:
    """Bring the job's row of `job_schedules` in line with its schedule."""
    job = JOBS[name]
    cron, enabled = cron_of(job)
    now = database_time()
    known = JobSchedule.objects.filter(job=name).first()
    unchanged = known and known.cron == cron and known.enabled == enabled and known.next_due_at
    longest = max(intervals(cron, now))
    was_off = known is not None and not known.enabled
    JobSchedule.objects.update_or_create(
        job=name,
        defaults={
            "description": job.protects_against,
            "cron": cron,
            "enabled": enabled,
            "timeout_seconds": job.timeout_seconds,
            "interval_seconds": round(longest.total_seconds()),
            "grace_seconds": round(min(max(longest / 4, SHORTEST_GRACE), LONGEST_GRACE).total_seconds()),
            # A slot that was due and missed stays due: only running it, or changing the schedule, moves it.
            "next_due_at": known.next_due_at if known and unchanged else slot_after(cron, now),
            "updated_at": now,
            "switched_off_at": None if enabled else known.switched_off_at if known and was_off else now,
            "switched_off_by": None if enabled else known.switched_off_by if known and was_off else current().actor,
        },
    )


def mirror_edit(instance: Schedule, **kwargs: Any) -> None:
    """Mirror a schedule of ours that was saved or deleted; receives `post_save` and `post_delete`."""
    if instance.name in JOBS and instance.func == FUNCTION:
        mirror(instance.name)


def due() -> list[str]:
    """The jobs with a slot that has come and that nobody has run yet, those due longest first; of a copy none."""
    if not installation.is_production():
        return []
    found = JobSchedule.objects.filter(enabled=True, job__in=JOBS, next_due_at__lte=database_time())
    return [*found.order_by("next_due_at", "job").values_list("job", flat=True), *skipped_elsewhere()]


def due_slot(name: str) -> datetime | None:
    """The slot that has come and that nobody has run yet, of several the last; None where none is due, as on a copy."""
    if not installation.is_production():
        return None
    now = database_time()
    schedule = JobSchedule.objects.filter(job=name, enabled=True, next_due_at__lte=now).first()
    if schedule is None or schedule.next_due_at is None:
        return None
    # One that an earlier expression had meant is no slot of this one.
    return max(slot_before(schedule.cron, now), schedule.next_due_at)


def skipped_elsewhere() -> list[str]:
    """The jobs whose present slot was skipped by a machine that could not do them, and that can be done here."""
    if not installation.is_production():
        return []
    return [job.name for job in JOBS.values() if job.needs and job.can_run_here and _is_skipped_elsewhere(job)]


def _is_skipped_elsewhere(job: Job) -> bool:
    cron, enabled = cron_of(job)
    skipped = JobRun.objects.filter(job=job.name, status=JobRun.Status.SKIPPED, rows_affected__isnull=False)
    return enabled and skipped.filter(scheduled_for=latest_slot(cron, database_time())).exists()


def record_slot(name: str, slot: datetime) -> None:
    """Note that the slot has been seen to, whatever came of it: the next one is due."""
    cron, _ = cron_of(JOBS[name])
    JobSchedule.objects.filter(job=name, next_due_at__lte=slot).update(next_due_at=slot_after(cron, slot))
