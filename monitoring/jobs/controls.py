"""What staff may ask of a job: a run now, another schedule, a pause. Each leaves one audit row."""

from django.db import transaction
from django_q.models import Schedule
from django_q.tasks import async_task

from glyphforge import audit
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused
from monitoring.jobs import schedules
from monitoring.jobs.cron import is_cron, slot_after
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun
from monitoring.worker import heartbeat


def run_now(name: str, *, actor: str, reason: str) -> bool:
    """Queue a run of the job; False when no worker lives to take it, so that it waits for one.

    Refuses an unknown job, and one that is running: its next run would only find the lock.
    """
    _known(name)
    if JobRun.objects.filter(job=name, status=JobRun.Status.RUNNING).exists():
        raise Refused(f"{name} is running already.")
    with transaction.atomic(), audit.acting_as(actor=actor, reason=reason):
        audit.record("run_job", table_name="job_runs", row_id=name)
        async_task("monitoring.jobs.runner.run_now", name, trigger=f"admin ({actor})", group=name)
    return heartbeat.queue_state().alive


def reschedule(name: str, *, cron: str, actor: str, reason: str) -> None:
    """Have the job run at the slots of `cron` (UTC) from now on.

    Refuses an expression that croniter cannot read, an unknown job and one without a schedule.
    """
    if not is_cron(cron):
        raise Refused(f"{cron!r} is no cron expression; five fields are expected, such as 0 2 * * *.")
    with transaction.atomic(), audit.acting_as(actor=actor, reason=reason):
        schedule = _schedule(name)
        audit.record(
            "reschedule_job",
            table_name="job_schedules",
            row_id=name,
            old_values={"cron": schedule.cron},
            new_values={"cron": cron},
        )
        schedule.schedule_type, schedule.cron = Schedule.CRON, cron
        schedule.next_run = slot_after(cron, database_time())
        schedule.save()


def switch(name: str, *, on: bool, actor: str, reason: str) -> None:
    """Have the schedule run the job, or leave it alone; it can be run by hand either way.

    Off is `repeats` 0, on is -1: https://django-q2.readthedocs.io/en/master/schedules.html. Refuses an unknown job and
    one without a schedule.
    """
    with transaction.atomic(), audit.acting_as(actor=actor, reason=reason):
        schedule = _schedule(name)
        audit.record(
            "switch_job",
            table_name="job_schedules",
            row_id=name,
            old_values={"enabled": schedule.repeats != 0},
            new_values={"enabled": on},
        )
        schedule.repeats = -1 if on else 0
        if on:
            cron, _ = schedules.cron_of(JOBS[name])
            schedule.next_run = slot_after(cron, database_time())
        schedule.save()


def _known(name: str) -> None:
    if name not in JOBS:
        raise Refused(f"There is no job {name}.")


def _schedule(name: str) -> Schedule:
    _known(name)
    schedule = Schedule.objects.select_for_update().filter(name=name).order_by("pk").first()
    if schedule is None:
        raise Refused(f"{name} has no schedule; migrate brings it back.")
    return schedule
