"""The jobs' pages: state for those who may see it, operations for those who may start them."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from glyphforge.audit.models import AuditEntry
from monitoring.jobs import runner
from monitoring.models import JobRun, JobSchedule

pytestmark = pytest.mark.django_db


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:monitoring_jobschedule_{name}", args=args)


@pytest.fixture
def staff(client: Client, signed_in: Any) -> Client:
    return signed_in("operator")


def test_list_shows_state_last_success_and_next_run(staff: Client, django_assert_max_num_queries: Any) -> None:
    # The template's slots may have passed since it was built.
    JobSchedule.objects.update(next_due_at=timezone.now() + timedelta(hours=1))
    runner.run("rollup", trigger="manual")
    JobRun.objects.create(job="sync", status="failed", error="boom", finished_at=timezone.now())
    JobRun.objects.create(job="orphans")
    JobSchedule.objects.update(next_due_at=timezone.now() + timedelta(hours=1))  # however old the template is
    JobSchedule.objects.filter(job="weekly").update(next_due_at=timezone.now() - timedelta(days=1))
    JobSchedule.objects.filter(job="daily").update(enabled=False)
    with django_assert_max_num_queries(15):
        page = staff.get(url("changelist")).content.decode()
    for words in ("Succeeded", "Failed", "Running", "Overdue", "Switched off", "0 3 * * 0"):
        assert words in page, words


def test_job_that_cannot_be_done_here_says_why_and_is_no_trouble(staff: Client) -> None:
    # The template's slots may have passed since it was built.
    JobSchedule.objects.update(next_due_at=timezone.now() + timedelta(hours=1))
    JobRun.objects.create(job="backup", status="failed", error="disk full", finished_at=timezone.now())
    assert "disk full" in staff.get(url("change", "backup")).content.decode()
    assert runner.run("backup", trigger="manual").outcome == "skipped"
    page = staff.get(url("change", "backup")).content.decode()
    assert page.count("BACKUP_DIR is not set") >= 2  # in its own line, and in the history
    assert "Skipped" in page
    runs = staff.get(reverse("admin:monitoring_jobrun_changelist")).content.decode()
    assert "BACKUP_DIR is not set" in runs
    cache.clear()  # of the jobs as an earlier test left them
    assert '<span class="dash-pill">Skipped</span>' in staff.get("/admin/").content.decode()


def test_page_shows_the_history_and_the_error(staff: Client) -> None:
    JobRun.objects.create(job="sync", status="failed", error="division by zero", finished_at=timezone.now())
    page = staff.get(url("change", "sync")).content.decode()
    assert "division by zero" in page
    assert "<meter" in page
    assert url("run", "sync") in page


def test_run_now_happens_only_on_a_confirmed_post_with_a_reason(staff: Client) -> None:
    assert "runs this job once, now" in staff.get(url("run", "sync")).content.decode()
    staff.post(url("run", "sync"), {"reason": "without confirming"})
    staff.post(url("run", "sync"), {"confirmed": "yes", "reason": ""})
    assert not OrmQ.objects.exists()
    staff.post(url("run", "sync"), {"confirmed": "yes", "reason": "counts look old"})
    task = OrmQ.objects.get().task
    assert (task["func"], task["args"]) == ("monitoring.jobs.runner.run_now", ("sync",))
    entry = AuditEntry.objects.get(action="run_job")
    assert (entry.row_id, entry.reason) == ("sync", "counts look old")
    assert entry.actor in task["kwargs"]["trigger"]


def test_run_now_is_refused_while_the_job_runs(staff: Client) -> None:
    JobRun.objects.create(job="sync")
    page = staff.post(url("run", "sync"), {"confirmed": "yes", "reason": "again"}, follow=True).content.decode()
    assert "sync is running already." in page
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("cron", ["not a cron", "61 * * * *", ""])
def test_a_schedule_that_cannot_be_read_is_refused(staff: Client, cron: str) -> None:
    staff.post(url("reschedule", "sync"), {"confirmed": "yes", "reason": "because", "cron": cron})
    assert Schedule.objects.get(name="sync").cron == "5 * * * *"


def test_a_new_schedule_holds_for_the_queue_and_for_sql(staff: Client) -> None:
    staff.post(url("reschedule", "sync"), {"confirmed": "yes", "reason": "quieter", "cron": "20 * * * *"})
    schedule = Schedule.objects.get(name="sync")
    assert (schedule.cron, schedule.next_run.minute) == ("20 * * * *", 20)
    assert JobSchedule.objects.get(job="sync").cron == "20 * * * *"
    assert AuditEntry.objects.get(action="reschedule_job").new_values == {"cron": "20 * * * *"}


def test_a_job_is_switched_off_and_on(staff: Client) -> None:
    staff.post(url("off", "sync"), {"confirmed": "yes", "reason": "migration"})
    assert Schedule.objects.get(name="sync").repeats == 0
    assert not JobSchedule.objects.get(job="sync").enabled
    switched_on_at = timezone.now()
    staff.post(url("on", "sync"), {"confirmed": "yes", "reason": "done"})
    assert Schedule.objects.get(name="sync").next_run > switched_on_at
    assert JobSchedule.objects.get(job="sync").enabled


@pytest.mark.parametrize(("role", "runs"), [("operator", True), ("support", False), ("auditor", False)])
def test_only_operators_may_run_and_reschedule(signed_in: Any, role: str, runs: bool) -> None:
    visitor = signed_in(role)
    assert visitor.get(url("changelist")).status_code == 200
    for operation in ("run", "reschedule", "off"):
        assert visitor.get(url(operation, "sync")).status_code == (200 if runs else 403)


@pytest.mark.parametrize(
    "page", ["monitoring_jobrun_changelist", "monitoring_workerheartbeat_changelist", "django_q_failure_changelist"]
)
def test_page_opens_and_changes_nothing(staff: Client, page: str) -> None:
    runner.run("rollup", trigger="manual")
    assert staff.get(reverse(f"admin:{page}")).status_code == 200


def test_a_runs_page_shows_what_it_did(staff: Client) -> None:
    runner.run("daily", trigger="manual")
    page = staff.get(reverse("admin:monitoring_jobrun_change", args=[JobRun.objects.get(job="daily").pk]))
    assert "cleanup_old_api_usage" in page.content.decode()


def test_the_queues_own_pages_that_can_stop_every_schedule_are_gone(admin_client: Client) -> None:
    assert get_user_model().objects.filter(is_superuser=True).exists()
    for name in ("schedule", "ormq", "success"):
        assert admin_client.get(f"/admin/django_q/{name}/").status_code == 404
