"""A job runs once per slot, never twice at a time, within its limit, and its row says what happened."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django_q.models import Schedule

from glyphforge.database.clock import database_time
from monitoring.jobs import lease, runner, schedules, steps
from monitoring.jobs.cron import latest_slot
from monitoring.jobs.deadline import deadline
from monitoring.jobs.outcome import JobFailed, JobSkipped, Outcome
from monitoring.jobs.registry import JOBS
from monitoring.models import JobRun, JobSchedule
from tests.support.concurrently import at_once
from tests.support.jobs import registered
from tests.support.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.django_db

SLOT = datetime(2026, 5, 1, 2, 0, tzinfo=UTC)


def test_success_records_rows_detail_and_duration() -> None:
    with registered():
        result = runner.run("probe", trigger="manual")
    run = JobRun.objects.get(job="probe")
    assert (result.outcome, run.status, run.rows_affected, run.trigger) == ("succeeded", "succeeded", 3, "manual")
    assert run.detail == {"note": "done"}
    assert run.duration is not None
    assert run.worker == lease.this_process()


def test_failure_is_recorded_with_its_error_and_without_secrets() -> None:
    def broken() -> Outcome:
        raise ValueError("cannot reach postgresql://forge:hunter22@db/forge with sk_live_abcdefabcdef")

    with registered(function=broken):
        result = runner.run("probe", trigger="manual")
    run = JobRun.objects.get(job="probe")
    assert result.outcome == run.status == "failed"
    assert run.error == "cannot reach postgresql://[masked]@db/forge with [masked]"


def test_a_failing_step_neither_stops_nor_undoes_the_others() -> None:
    job = partial(
        steps.run_steps,
        steps.Step("first", "SELECT 2"),
        steps.Step("broken", "SELECT 1 / 0"),
        steps.Step("last", "SELECT generate_series(1, 4)", count=len),
    )
    with registered(function=job):
        result = runner.run("probe", trigger="manual")
    run = JobRun.objects.get(job="probe")
    assert run.status == "failed"
    assert run.rows_affected == 6
    assert {name: step["status"] for name, step in run.detail.items()} == {
        "first": "ok",
        "broken": "failed",
        "last": "ok",
    }
    assert result.message == "probe: broken: division by zero"


def test_a_job_that_cannot_be_done_here_is_skipped_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    def elsewhere() -> Outcome:
        raise JobSkipped("no disk at /mnt with sk_live_abcdefabcdef")

    with registered(function=elsewhere):
        result = runner.run("probe", trigger="cron", slot=SLOT)
        assert (result.outcome, result.message) == ("skipped", "probe: skipped: no disk at /mnt with [masked]")
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "taken"
        capsys.readouterr()
        call_command("run_job", "probe", "--json")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["outcome"], told["detail"]) == ("skipped", {"reason": "no disk at /mnt with [masked]"})
    run = JobRun.objects.get(job="probe", scheduled_for=SLOT)
    assert (run.status, run.rows_affected, run.error) == ("skipped", 0, None)


def test_a_slot_runs_once_whoever_asks() -> None:
    calls = []

    def counted() -> Outcome:
        calls.append(1)
        return Outcome()

    with registered(function=counted):
        outcomes = [
            runner.run("probe", trigger=trigger, slot=SLOT).outcome for trigger in ("schedule", "cron", "lambda")
        ]
    assert outcomes == ["succeeded", "taken", "taken"]
    assert len(calls) == 1


class TestOnlySomeMachinesCan:
    """The job needs a setting that only some of the machines have, as `backup` does."""

    @pytest.fixture(autouse=True)
    def _probe(self, settings: Any) -> Iterator[None]:
        settings.PROBE_DIR = ""
        # The next slot is half a day off: none comes in the middle of a test.
        hour = (database_time().hour + 12) % 24
        with registered(needs="PROBE_DIR", cron=f"0 {hour} * * *"):
            schedules.install()
            yield

    def test_what_one_skipped_another_does_once(self, settings: Any) -> None:
        assert runner.run_due_slot("probe", trigger="schedule").outcome == "skipped"
        assert runner.run_due_slot("probe", trigger="cron").outcome == "taken"
        assert schedules.skipped_elsewhere() == []
        settings.PROBE_DIR = "/here"
        assert schedules.skipped_elsewhere() == ["probe"]
        assert "probe" in schedules.due()
        outcomes = [runner.run_due_slot("probe", trigger="watchdog").outcome for _ in range(2)]
        assert outcomes == ["succeeded", "taken"]
        assert schedules.skipped_elsewhere() == []
        run = JobRun.objects.get(job="probe")
        assert (run.status, run.rows_affected, run.trigger) == ("succeeded", 3, "watchdog")
        assert run.detail["earlier_attempts"][0]["error"] == "PROBE_DIR is not set on this machine"

    def test_one_that_is_done_or_switched_off_does_not_count_as_skipped_elsewhere(self, settings: Any) -> None:
        settings.PROBE_DIR = "/here"
        runner.run_due_slot("probe", trigger="schedule")
        assert schedules.skipped_elsewhere() == []
        JobRun.objects.filter(job="probe").update(status="skipped")
        assert schedules.skipped_elsewhere() == ["probe"]
        Schedule.objects.filter(name="probe").update(repeats=0)
        assert schedules.skipped_elsewhere() == []

    def test_a_slot_that_met_another_run_does_not_count_as_skipped_elsewhere(self, settings: Any) -> None:
        settings.PROBE_DIR = "/here"
        cron = schedules.cron_of(JOBS["probe"])[0]
        lease.record_skipped("probe", slot=latest_slot(cron, database_time()), trigger="schedule")
        assert schedules.skipped_elsewhere() == []
        assert runner.run_due_slot("probe", trigger="cron").outcome == "taken"

    @pytest.mark.django_db(transaction=True)
    def test_two_that_can_share_one_slot(self, settings: Any) -> None:
        runner.run_due_slot("probe", trigger="schedule")
        settings.PROBE_DIR = "/here"
        results = at_once(*[lambda: runner.run_due_slot("probe", trigger="watchdog")] * 2)
        assert sorted(result.outcome for result in results) == ["succeeded", "taken"]


def test_a_failed_slot_is_not_run_again() -> None:
    def broken() -> Outcome:
        raise JobFailed("half of it", Outcome(rows=1))

    with registered(function=broken):
        outcomes = [runner.run("probe", trigger="cron", slot=SLOT).outcome for _ in range(2)]
    assert outcomes == ["failed", "taken"]
    assert JobRun.objects.get(job="probe").rows_affected == 1


def test_a_running_job_refuses_a_second_run_and_notes_the_slot() -> None:
    JobRun.objects.create(job="probe", scheduled_for=SLOT - timedelta(days=1))
    with registered():
        assert runner.run("probe", trigger="manual").outcome == "busy"
        assert runner.run("probe", trigger="cron", slot=SLOT).outcome == "busy"
    assert JobRun.objects.get(job="probe", scheduled_for=SLOT).status == "skipped"


def test_a_dead_run_is_marked_failed_and_its_slot_may_be_taken_again() -> None:
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    JobRun.objects.create(job="probe", scheduled_for=SLOT, lease_until=long_ago, worker="other:17")
    JobRun.objects.create(job="elsewhere", lease_until=long_ago)
    with registered():
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "succeeded"
    run = JobRun.objects.get(job="probe")
    assert run.attempts == 2
    assert run.detail["earlier_attempts"][0]["worker"] == "other:17"
    assert "died or hung" in run.detail["earlier_attempts"][0]["error"]
    assert JobRun.objects.get(job="elsewhere").status == "failed"


def test_a_slot_whose_processes_keep_dying_is_given_up() -> None:
    JobRun.objects.create(job="probe", scheduled_for=SLOT, attempts=3, status="failed", detail={"died": True})
    with registered():
        assert runner.run("probe", trigger="schedule", slot=SLOT).outcome == "taken"


def test_a_run_that_lost_its_lease_changes_nothing() -> None:
    def overtaken() -> Outcome:
        JobRun.objects.filter(job="probe").update(attempts=2)
        return Outcome(rows=99)

    with registered(function=overtaken):
        result = runner.run("probe", trigger="manual")
    assert result.outcome == "failed"
    assert "lease was lost" in result.message
    assert JobRun.objects.get(job="probe").rows_affected is None


@pytest.mark.parametrize("inside", ["python", "server"])
def test_a_hanging_job_is_stopped_at_its_limit(inside: str) -> None:
    def hang() -> Outcome:
        if inside == "python":
            time.sleep(2 * PATIENCE_SECONDS)
        else:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [2 * PATIENCE_SECONDS])
        return Outcome()

    started = time.monotonic()
    with registered(function=hang, timeout_seconds=1):
        result = runner.run("probe", trigger="manual")
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert (result.outcome, JobRun.objects.get(job="probe").error) == ("failed", "Stopped at the limit of 1 s.")


def test_a_statement_is_stopped_by_the_server_outside_the_main_thread() -> None:
    """As in a web process, where no alarm can interrupt."""
    seen: list[str] = []

    def work() -> None:
        try:
            with deadline(0.5):
                steps.query("SELECT pg_sleep(30)")
        except OperationalError as error:
            seen.append(str(error))
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "statement timeout" in seen[0]


@pytest.mark.django_db(transaction=True)
def test_two_machines_at_the_same_moment_run_a_slot_once() -> None:
    runs: list[int] = []

    def slow() -> Outcome:
        runs.append(1)
        time.sleep(0.3)
        return Outcome()

    with registered(function=slow):
        results = at_once(*[lambda: runner.run("probe", trigger="cron", slot=SLOT)] * 6)
    assert len(runs) == 1
    assert sorted(result.outcome for result in results) == ["succeeded"] + ["taken"] * 5
    assert JobRun.objects.filter(job="probe").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_living_run_keeps_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)

    def slow() -> Outcome:
        runs = JobRun.objects.filter(job="probe")
        runs.update(lease_until=database_time())  # as when all of the first lease has passed
        wait_for(lambda: runs.get().lease_until > database_time() + timedelta(seconds=lease.LEASE_SECONDS / 2))
        return Outcome(rows=lease.fail_dead_runs())

    with registered(function=slow):
        assert runner.run("probe", trigger="manual").outcome == "succeeded"
    assert JobRun.objects.get(job="probe").rows_affected == 0


class TestCommand:
    def test_exit_codes_tell_success_failure_and_lock(self, capsys: pytest.CaptureFixture[str]) -> None:
        def broken() -> Outcome:
            raise RuntimeError("no")

        with registered():
            call_command("run_job", "probe", "--json")
            assert json.loads(capsys.readouterr().out)["status"] == "succeeded"
        with registered(function=broken), pytest.raises(CommandError) as failed:
            call_command("run_job", "probe")
        assert failed.value.returncode == 1
        JobRun.objects.create(job="probe")
        with registered(), pytest.raises(CommandError) as busy:
            call_command("run_job", "probe")
        assert busy.value.returncode == 3

    def test_unknown_job_names_the_known_ones(self) -> None:
        with pytest.raises(CommandError, match="nonsense: no such job; there are partitions, daily"):
            call_command("run_job", "nonsense")

    def test_two_schedulers_with_skewed_clocks_share_the_slot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with registered(cron="0 2 * * *"):
            schedules.install()
            for clock in ("01:58:30", "02:00:00", "02:04:00"):
                now = datetime.fromisoformat(f"2026-05-01T{clock}+00:00")
                monkeypatch.setattr(runner, "database_time", lambda now=now: now)
                call_command("run_job", "probe", "--scheduled", "--trigger", "cron")
        assert [run.scheduled_for for run in JobRun.objects.filter(job="probe")] == [SLOT]

    def test_a_job_that_is_switched_off_is_not_run_by_other_schedulers(self) -> None:
        with registered():
            schedules.install()
            Schedule.objects.filter(name="probe").update(repeats=0)
            call_command("run_job", "probe", "--scheduled")
            assert not JobRun.objects.filter(job="probe").exists()
            call_command("run_job", "probe")
            assert JobRun.objects.filter(job="probe").exists()

    def test_list_shows_every_job(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("run_job", "--list", "--json")
        listed = {row["job"]: row for row in json.loads(capsys.readouterr().out)}
        assert listed["daily"]["cron"] == "0 2 * * *"
        assert listed["weekly"]["next_due_at"].endswith("03:00:00Z")


class TestDue:
    """`run_job --due`, what cron starts every minute."""

    def test_only_slots_that_have_come_and_were_not_run_are_due(self) -> None:
        past = database_time() - timedelta(hours=5)
        JobSchedule.objects.update(next_due_at=database_time() + timedelta(hours=1))
        JobSchedule.objects.filter(job__in=("sync", "orphans", "weekly")).update(next_due_at=past)
        JobSchedule.objects.filter(job="weekly").update(enabled=False)
        assert schedules.due() == ["orphans", "sync"]
        runner.run_due_slot("sync", trigger="cron")
        assert schedules.due() == ["orphans"]
        run = JobRun.objects.get(job="sync")
        assert (run.scheduled_for.minute, run.trigger) == (5, "cron")

    def test_each_due_job_runs_in_a_process_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(schedules, "due", lambda: ["good", "busy", "bad"])
        started: list[list[str]] = []

        class Process:
            def __init__(self, command: list[str]) -> None:
                started.append(command[3:])
                self.status = {"good": 0, "busy": 3, "bad": 1}[command[3]]

            def wait(self) -> int:
                return self.status

        monkeypatch.setattr("subprocess.Popen", Process)
        with pytest.raises(CommandError, match="failed: bad") as failed:
            call_command("run_job", "--due", "--trigger", "cron")
        assert failed.value.returncode == 1
        assert started == [[name, "--scheduled", "--trigger", "cron"] for name in ("good", "busy", "bad")]
