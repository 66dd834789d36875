"""`run_job NAME` and *Run now*: whatever the schedule says the job runs, and takes the slot that is due."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command

from glyphforge.database.clock import database_time
from monitoring.jobs import runner, schedules
from monitoring.jobs.cron import slot_before
from monitoring.jobs.outcome import Outcome
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun, JobSchedule
from tests.support.concurrently import at_once
from tests.support.jobs import registered
from tests.support.sql import one
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db

SLOT = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _probe() -> Iterator[None]:
    with registered(cron="0 * * * *"):
        schedules.install()
        JobSchedule.objects.filter(job="probe").update(next_due_at=database_time() - timedelta(hours=5))
        yield


def overdue() -> bool:
    return bool(one("SELECT is_overdue FROM job_health WHERE job = 'probe'")["is_overdue"])


def test_the_slot_that_is_due_is_taken_and_no_longer_overdue() -> None:
    assert overdue()
    call_command("run_job", "probe")
    assert not overdue()
    assert "probe" not in schedules.due()
    (run,) = JobRun.objects.filter(job="probe")
    assert (run.status, run.trigger, run.scheduled_for) == (
        "succeeded", "manual", slot_before("0 * * * *", database_time()),
    )  # fmt: skip


def test_a_scheduler_finds_the_slot_taken() -> None:
    slot = schedules.due_slot("probe")
    runner.run_now("probe", trigger="admin (ada)")
    assert runner.run("probe", trigger="schedule", slot=slot).outcome == "taken"


def test_it_runs_again_when_no_slot_is_due() -> None:
    outcomes = [runner.run_by_hand("probe", trigger="manual").outcome for _ in range(3)]
    assert outcomes == ["succeeded"] * 3


def test_a_slot_that_somebody_ran_is_run_again_as_of_now() -> None:
    slot = schedules.due_slot("probe")
    JobRun.objects.create(job="probe", scheduled_for=slot, status="failed", finished_at=database_time())
    assert runner.run_by_hand("probe", trigger="manual").outcome == "succeeded"
    assert not overdue()


def test_the_slot_stays_due_while_another_run_goes_on() -> None:
    JobRun.objects.create(job="probe", scheduled_for=SLOT)
    assert runner.run_by_hand("probe", trigger="manual").outcome == "busy"
    assert overdue()
    assert JobRun.objects.filter(job="probe").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_runs_and_the_other_is_told() -> None:
    def waits_for_the_other() -> Outcome:
        wait_for(lambda: len(ended) == 1)
        return Outcome()

    ended: list[str] = []
    job = JOBS["probe"]
    JOBS["probe"] = replace(job, function=waits_for_the_other)

    def ask() -> str:
        outcome = runner.run_by_hand("probe", trigger="manual").outcome
        ended.append(outcome)
        return outcome

    assert sorted(at_once(ask, ask)) == ["busy", "succeeded"]
