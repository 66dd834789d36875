"""`manage.py doctor` as an operator runs it: every line answered or said not to be, no secret shown, exit 1 for a
critical one."""

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.core.management import call_command

from monitoring.doctor import registry
from monitoring.doctor.examination import examine
from monitoring.doctor.finding import Finding, ok, warning
from tests.support import processes


def fails() -> Iterator[Finding]:
    yield ok("the first half")
    raise RuntimeError("postgresql://ada:swordfish@db/x\nis not reached")


def test_a_check_that_fails_or_hangs_stops_no_other() -> None:
    released = threading.Event()

    def hangs() -> list[Finding]:
        released.wait()
        return []

    checks = {"one": lambda: [ok("fine")], "fails": fails, "hangs": hangs, "last": lambda: [warning("a", "b")]}
    try:
        found = dict(examine(checks, seconds=0.5))
    finally:
        released.set()
    assert [each.status for each in found["one"]] == ["ok"]
    assert [each.status for each in found["fails"]] == ["ok", "critical"]
    assert found["fails"][1].message.startswith("cannot be checked: RuntimeError: ")
    assert "\n" not in found["fails"][1].message
    assert "swordfish" not in found["fails"][1].message
    assert found["hangs"][0].message == "no answer within 0 s"
    assert found["last"] == [warning("a", "b")]


@pytest.mark.parametrize(("checks", "code"), [({"a": lambda: [warning("w", "f")]}, 0), ({"a": fails}, 1)])
def test_only_what_is_critical_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checks: dict[str, Any], code: int
) -> None:
    monkeypatch.setattr("monitoring.management.commands.doctor.checks", lambda send: checks)
    with pytest.raises(SystemExit) if code else nullcontext():
        call_command("doctor")
    expected = "1 ok, 0 warning, 1 critical." if code else "0 ok, 1 warning, 0 critical."
    assert capsys.readouterr().out.splitlines()[-1] == expected


@pytest.mark.django_db(transaction=True)
def test_the_whole_examination_as_json_in_a_process_of_its_own() -> None:
    secrets = {
        "DJANGO_SECRET_KEY": "swordfish-secret-of-more-than-fifty-characters-0123456789",
        "API_KEY_PEPPER": "swordfish-pepper-of-more-than-thirty-two-characters",
        "STRIPE_WEBHOOK_SECRET": "whsec_swordfish0123456789",
        "METRICS_TOKEN": "swordfish-token-0123456789",
        "SLACK_WEBHOOK_URL": "http://127.0.0.1:9/services/T0/B0/swordfish",
        "DATABASE_REPLICA_URL": "postgresql://ada:swordfish@127.0.0.1:9/none",
    }
    done = processes.finished(
        "manage.py", "doctor", "--json", "--seconds", "60", STRIPE_API_HOST="http://127.0.0.1:9", **secrets
    )
    assert done.returncode == 1, done.stderr
    assert "swordfish" not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "critical"
    by_check: dict[str, set[str]] = {}
    for each in told["findings"]:
        assert each["status"] == "ok" or each["fix"], each
        assert "no answer within" not in each["message"]
        assert "cannot be checked" not in each["message"], each
        by_check.setdefault(each["check"], set()).add(each["status"])
    assert list(by_check) == list(registry.checks(send=False))
    assert by_check["migrations"] == by_check["definitions"] == by_check["production"] == {"ok"}
    assert [each["fix"] for each in told["findings"] if each["message"].startswith("DATABASE_REPLICA_URL")] == [
        "start PostgreSQL, or correct DATABASE_REPLICA_URL"
    ]
    assert "critical" in by_check["stripe key"] & by_check["slack"] & by_check["worker"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_leaves_the_other_lines() -> None:
    done = processes.finished(
        "manage.py", "doctor", "--json", DATABASE_URL="postgresql://nobody:swordfish@127.0.0.1:9/none"
    )
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, "swordfish" in done.stdout) == (1, "", False)
    statuses = {each["check"]: each["status"] for each in told["findings"]}
    assert sum("database does not answer" in each["message"] for each in told["findings"]) > 3
    assert statuses["database"] == "critical"
    assert statuses["secrets"] == "warning"
