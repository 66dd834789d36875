"""The schedules: created by migrate, kept as operators leave them, mirrored where SQL can read them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core.management import call_command
from django_q import cluster
from django_q.models import OrmQ, Schedule

from glyphforge.database.clock import database_time
from monitoring.jobs import schedules
from monitoring.jobs.cron import latest_slot, slot_after
from monitoring.jobs.registry import JOBS
from monitoring.models import JobSchedule
from monitoring.worker.scheduler import enqueue_due
from tests.support.sql import query

pytestmark = pytest.mark.django_db

PUBLIC = {
    "partitions": "0 1 * * *",
    "daily": "0 2 * * *",
    "report": "0 8 * * *",
    "sync": "5 * * * *",
    "orphans": "10 * * * *",
    "health": "*/15 * * * *",
    "weekly": "0 3 * * 0",
    "webhooks": "* * * * *",
    "rollup": "* * * * *",
    "backup": "30 2 * * *",
    "drill": "30 5 * * 0",
    "verify": "0 5 * * *",
}


@pytest.mark.parametrize("name", list(JOBS))
def test_job_runs_when_the_interface_says(name: str) -> None:
    schedule = Schedule.objects.get(name=name)
    assert schedule.schedule_type == Schedule.CRON
    assert schedule.cron == PUBLIC.get(name, JOBS[name].cron)
    # The template's database may have been migrated long ago.
    schedule.delete()
    installed_at = database_time()
    schedules.install()
    assert Schedule.objects.get(name=name).next_run > installed_at


def test_migrating_again_changes_nothing_and_keeps_edits() -> None:
    Schedule.objects.filter(name="daily").update(cron="30 4 * * *", repeats=0)
    before = list(Schedule.objects.order_by("pk").values())
    call_command("migrate", verbosity=0)
    assert list(Schedule.objects.order_by("pk").values()) == before
    assert JobSchedule.objects.get(job="daily").enabled is False


def test_a_deleted_schedule_comes_back_with_migrate() -> None:
    Schedule.objects.filter(name="daily").delete()
    assert JobSchedule.objects.get(job="daily").enabled is False
    schedules.install()
    assert Schedule.objects.filter(name="daily").count() == 1
    assert JobSchedule.objects.get(job="daily").enabled is True


def test_an_edit_moves_the_due_time_that_sql_reads() -> None:
    schedule = Schedule.objects.get(name="sync")
    schedule.cron = "0 */6 * * *"
    schedule.save()
    mirrored = JobSchedule.objects.get(job="sync")
    assert (mirrored.cron, mirrored.interval_seconds) == ("0 */6 * * *", 6 * 3600)
    assert mirrored.next_due_at.hour % 6 == 0


def test_a_missed_slot_stays_due_until_it_is_run() -> None:
    missed = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
    JobSchedule.objects.filter(job="daily").update(next_due_at=missed)
    schedules.install()
    assert JobSchedule.objects.get(job="daily").next_due_at == missed
    schedules.record_slot("daily", missed)
    assert JobSchedule.objects.get(job="daily").next_due_at == missed + timedelta(days=1)


def test_the_next_run_after_daylight_saving_begins_is_at_the_same_utc_time() -> None:
    before = datetime(2026, 3, 28, 2, 0, tzinfo=UTC)
    assert slot_after("0 2 * * *", before) == before + timedelta(days=1)
    assert slot_after("0 2 * * *", before + timedelta(days=1)) == before + timedelta(days=2)


@pytest.mark.parametrize(
    ("cron", "now", "slot"),
    [
        ("* * * * *", "10:00:45", "10:01:00"),
        ("* * * * *", "10:00:30", "10:00:00"),
        ("*/15 * * * *", "10:13:30", "10:15:00"),
        ("*/15 * * * *", "10:12:30", "10:00:00"),
        ("5 * * * *", "10:05:00", "10:05:00"),
    ],
)
def test_a_clock_that_is_a_little_ahead_still_means_the_slot(cron: str, now: str, slot: str) -> None:
    found = latest_slot(cron, datetime.fromisoformat(f"2026-05-01T{now}+00:00"))
    assert f"{found:%H:%M:%S}" == slot


def test_the_queue_hands_the_runner_the_slot_and_a_limit_longer_than_the_jobs() -> None:
    due = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)
    Schedule.objects.exclude(name="daily").delete()
    Schedule.objects.filter(name="daily").update(next_run=due)
    handed_out_at = database_time()
    enqueue_due()
    task = OrmQ.objects.get().task
    assert task["kwargs"] == {"scheduled_for": due.isoformat()}
    assert task["args"] == ("daily",)
    assert JOBS["daily"].timeout_seconds < task["timeout"] < settings.Q_CLUSTER["retry"]
    assert Schedule.objects.get(name="daily").next_run > handed_out_at


def test_the_cluster_asks_our_scheduler() -> None:
    assert cluster.scheduler is enqueue_due


@pytest.mark.parametrize(
    "change",
    ["cron = 'never'", "cron = '0 0 30 2 *'", "args = 'import os'", "kwargs = '['", "next_run = '-infinity'"],
)
def test_a_schedule_that_cannot_be_read_keeps_no_other(change: str) -> None:
    query("UPDATE django_q_schedule SET next_run = now() - interval '5 minutes'")
    query(f"UPDATE django_q_schedule SET {change} WHERE name = 'daily'")
    enqueue_due()
    handed_out = {task.task["args"][0] for task in OrmQ.objects.all()}
    assert handed_out == JOBS.keys() - {"daily"}


@pytest.mark.parametrize("cron", ["never", "0 0 30 2 *", ""])
def test_an_expression_that_means_no_moment_is_the_registrys(cron: str) -> None:
    query("UPDATE django_q_schedule SET cron = %s WHERE name = 'daily'", cron)
    schedules.install()
    assert schedules.cron_of(JOBS["daily"]) == (JOBS["daily"].cron, True)
