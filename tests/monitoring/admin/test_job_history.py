"""A job's page: its runs as a picture, failures in a row, whether it gets slower, and who switched it off."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from glyphforge.admin.columns import EMPTY
from monitoring.admin import job_history
from monitoring.jobs import controls
from monitoring.models import JobRun, JobSchedule
from tests.support.sql import query

pytestmark = pytest.mark.django_db


def ran(number: int, *, status: str = "succeeded", seconds: float = 1) -> JobRun:
    """A run that began so many hours ago."""
    begun = timezone.now() - timedelta(hours=number)
    return JobRun.objects.create(
        job="sync",
        scheduled_for=begun,
        started_at=begun,
        finished_at=begun + timedelta(seconds=seconds),
        status=status,
        error="boom" if status == "failed" else None,
    )


def test_page_has_the_picture_and_what_it_says_in_words(
    signed_in: Callable[[str], Client], django_assert_max_num_queries: Any
) -> None:
    for number in range(1, 60):
        ran(number, status="failed" if number < 4 else "succeeded", seconds=number)
    operator = signed_in("operator")
    with django_assert_max_num_queries(16):
        page = operator.get(reverse("admin:monitoring_jobschedule_change", args=["sync"])).content.decode()
    assert page.count("<rect") == job_history.SHOWN_RUNS
    assert 'role="img" aria-label="The last 50 runs, the latest on the right: 47 succeeded, 3 failed.' in page
    assert "3, since" in page


def test_bars_are_as_high_as_the_runs_took_long() -> None:
    picture = job_history.timeline([ran(1, seconds=10), ran(2, seconds=5), ran(3, status="failed", seconds=0)])
    assert [height for height in ("4", "30", "60") if f'height="{height}"' in picture] == ["4", "30", "60"]
    assert picture.index("gf-timeline__danger") < picture.index("gf-timeline__success")  # the oldest on the left


def test_a_job_without_runs_has_no_picture() -> None:
    assert "<svg" not in job_history.timeline([])
    assert job_history.trend([]) == EMPTY


def test_failures_count_since_the_last_success() -> None:
    assert job_history.failures_in_a_row(JobSchedule.objects.get(job="sync")) == "None"
    for number, status in ((9, "failed"), (5, "succeeded"), (3, "failed"), (2, "failed"), (1, "skipped")):
        ran(number, status=status)
    assert job_history.failures_in_a_row(JobSchedule.objects.get(job="sync")).startswith("2, since")


@pytest.mark.parametrize(
    ("lately", "said"),
    [(2, "2.0 s, 100 % longer than the 10 before (1.0 s)"), (0.5, "500 ms, 50 % shorter than the 10 before (1.0 s)"),
     (1.05, "1.1 s, as long as the 10 before (1.0 s)")],
)  # fmt: skip
def test_trend_compares_the_latest_with_those_before(lately: float, said: str) -> None:
    runs = [ran(number, seconds=lately if number <= 10 else 1) for number in range(1, 21)]
    assert job_history.trend(runs) == said


def test_few_runs_make_no_trend() -> None:
    assert job_history.trend([ran(number) for number in range(1, 12)]) == "1.0 s"


def test_page_says_since_when_it_is_switched_off_and_by_whom() -> None:
    controls.switch("sync", on=False, actor="grace", reason="migration of the counters")
    said = job_history.switched_off(JobSchedule.objects.get(job="sync"))
    assert "by grace: migration of the counters" in said
    controls.switch("sync", on=True, actor="grace", reason="done")
    assert job_history.switched_off(JobSchedule.objects.get(job="sync")) == EMPTY


def test_switched_off_by_sql_leaves_no_name() -> None:
    query("UPDATE job_schedules SET enabled = false WHERE job = 'sync'")
    assert "Not from here" in job_history.switched_off(JobSchedule.objects.get(job="sync"))
