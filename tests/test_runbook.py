"""The runbook knows every check, the page about jobs every job."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.db import connection

from monitoring.jobs.registry import JOBS

DOCS = Path(__file__).resolve().parent.parent / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text()
JOBS_PAGE = (DOCS / "run-jobs.md").read_text()


@pytest.mark.django_db
def test_every_check_has_a_line_in_the_runbook() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT check_name FROM v_system_health")
        names = {name for (name,) in cursor.fetchall()}
    documented = set(re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", RUNBOOK, re.MULTILINE))))
    assert names - documented == set()


def test_every_job_is_listed_with_its_limit() -> None:
    for name, job in JOBS.items():
        limits = re.findall(rf"^\| `{name}` \| [^|]+ \| ([^|]*) \|", JOBS_PAGE, re.MULTILINE)
        assert limits == [f"{job.timeout_seconds // 60} min"], name


def test_commands_that_it_names_exist() -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", RUNBOOK + JOBS_PAGE))
    assert {"run_job", "worker", "retry_webhooks", "fix_orphans"} <= named
    assert named - set(get_commands()) == set()
