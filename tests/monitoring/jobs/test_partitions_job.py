"""The job `partitions`: months ahead first, then stray months, each few in a transaction of their own."""

import pytest
from django.db import connection

from monitoring.jobs import runner
from monitoring.jobs.steps import Partitions
from monitoring.models import JobRun
from tests.support import factories
from tests.support.sql import ago, insert, run, scalar

pytestmark = pytest.mark.django_db

STRAYS = "SELECT count(*) FROM api_usage_default"


def month(ahead: int) -> str:
    return str(scalar("SELECT to_char(now() AT TIME ZONE 'UTC' + %s * interval '1 month', 'YYYY_MM')", ahead))


def stray(*months: int) -> None:
    for number in months:
        factories.requests(factories.customer(), created_at=ago(f"{-number} months"))


def test_all_stray_months_are_made_a_few_at_a_time() -> None:
    stray(*range(10, 25))
    insert("audit_log", action="note", table_name="users", occurred_at=ago("-9 months"))
    assert runner.run("partitions", trigger="manual").outcome == "succeeded"
    made = JobRun.objects.get(job="partitions")
    assert made.detail["create_api_usage_partitions"]["rows"] >= 15
    assert made.detail["create_audit_log_partitions"]["rows"] >= 1
    assert scalar(STRAYS) == scalar("SELECT count(*) FROM audit_log_default") == 0


def test_each_few_are_a_transaction_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stray(*range(10, 20))
    run("SELECT create_monthly_partitions('api_usage', 3, 0)")
    calls = []

    def counted(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        if "create_monthly_partitions" in sql:
            calls.append(tuple(params[1:]))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(counted):
        assert Partitions("p", "api_usage").run() == 10
    assert calls == [(3, 0), (0, 6), (0, 6), (0, 6)]


def test_stray_month_that_cannot_be_made_is_reported_and_fails_nothing() -> None:
    run(f"CREATE TABLE api_usage_{month(12)} ()")
    stray(11, 12, 13)
    assert runner.run("partitions", trigger="manual").outcome == "succeeded"
    (notice,) = JobRun.objects.get(job="partitions").detail["create_api_usage_partitions"]["notices"]
    assert f"table api_usage_{month(12)} exists but is no partition of api_usage: rename it, or drop it" in notice
    assert scalar(STRAYS) == 1
    message = scalar("SELECT message FROM v_system_health WHERE check_name = 'default_partition_rows'")
    assert message == (
        f"1 rows of api_usage and 0 of audit_log are in a month without partition: {month(12).replace('_', '-')};"
        f" to be renamed or dropped, as in the way: api_usage_{month(12)}."
    )


def test_month_ahead_that_cannot_be_made_fails_the_job_and_stops_nothing() -> None:
    run("SELECT create_api_usage_partitions(3)")
    run(f"DROP TABLE api_usage_{month(2)}, api_usage_{month(3)}")
    run(f"CREATE TABLE api_usage_{month(2)} ()")
    stray(11)
    failed = runner.run("partitions", trigger="manual")
    assert failed.outcome == "failed"
    assert f"table api_usage_{month(2)} exists but is no partition of api_usage" in failed.message
    assert scalar("SELECT to_regclass(%s) IS NOT NULL", f"api_usage_{month(3)}")
    assert scalar(STRAYS) == 0
    detail = JobRun.objects.get(job="partitions").detail
    assert detail["create_audit_log_partitions"]["status"] == "ok"


def test_stray_months_are_made_though_no_month_ahead_can_be() -> None:
    run("SELECT create_api_usage_partitions(3)")
    run(f"DROP TABLE api_usage_{month(3)}")
    run(f"CREATE TABLE api_usage_{month(3)} ()")
    stray(11)
    assert runner.run("partitions", trigger="manual").outcome == "failed"
    assert scalar(STRAYS) == 0
