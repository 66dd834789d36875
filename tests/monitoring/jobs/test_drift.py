"""The check on drift says what the verify job last found, and says so when nobody knows."""

import json

import pytest
from django.db import connection

from glyphforge.database import roles
from monitoring.jobs import runner
from monitoring.models import JobRun
from tests.support.sql import SQL, ago, insert, one, query

pytestmark = pytest.mark.django_db


def drift() -> tuple[str, object, str]:
    row = one("SELECT status, value, message FROM v_system_health WHERE check_name = 'drift'")
    return row["status"], row["value"], row["message"]


def compared(differences: list[str], *, rows: int | None = None, at: str = "1 hour", status: str = "succeeded") -> None:
    insert(
        "job_runs",
        job="verify",
        status=status,
        rows_affected=len(differences) if rows is None else rows,
        detail=json.dumps({"differences": differences}),
        scheduled_for=ago(at),
        started_at=ago(at),
        finished_at=ago(at),
    )


def test_it_is_unknown_before_the_first_comparison() -> None:
    assert drift() == ("unknown", None, "Never compared yet.")


def test_a_database_as_migrated_is_good() -> None:
    result = runner.run("verify", trigger="manual")
    assert (result.outcome, result.message) == ("succeeded", "verify: 0 rows")
    status, value, message = drift()
    assert (status, value) == ("ok", 0)
    assert message.startswith("None at ")


def test_differences_are_told_in_words_and_do_not_fail_the_job() -> None:
    query("ALTER TABLE users DISABLE TRIGGER audit")
    query("DROP INDEX users_created_at")
    assert runner.run("verify", trigger="manual").outcome == "succeeded"
    assert drift() == (
        "warning",
        2,
        "missing index users.users_created_at; different trigger users.audit: enabled is D, not O.",
    )


def test_of_many_the_first_five_are_told() -> None:
    compared([f"extra table t{n}" for n in range(20)], rows=31)
    status, value, message = drift()
    assert (status, value) == ("warning", 31)
    assert message.endswith("extra table t4; and 26 more.")


def test_an_old_comparison_says_how_old_it_is() -> None:
    compared([], at="49 hours")
    assert "has not come to an end since" not in drift()[2]
    compared([], at="51 hours")
    query("DELETE FROM job_runs WHERE finished_at > now() - interval '50 hours'")
    insert("job_runs", job="verify", status="failed", error="boom", finished_at=SQL("now()"))
    assert drift()[2].endswith("the verify job has not come to an end since.")


def test_a_slot_that_met_a_running_comparison_says_nothing_of_drift() -> None:
    compared(["extra table t"])
    insert("job_runs", job="verify", status="skipped", detail='{"reason": "another run had not ended"}')
    assert drift()[:2] == ("warning", 1)


def test_a_role_that_may_not_compare_gets_unknown_and_the_reason() -> None:
    compared([])
    roles.install()
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {roles.APPLICATION}")
    result = runner.run("verify", trigger="manual")
    assert result.outcome == "skipped"
    denied = f"permission denied for database {connection.settings_dict['NAME']}"
    told = f"Cannot be compared: {denied}: name a role that may in MAINTENANCE_DATABASE_URL."
    assert drift() == ("unknown", None, told)
    assert JobRun.objects.filter(job="verify", status="skipped").count() == 1
