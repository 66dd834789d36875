"""While any one table is locked, the watch answers in time and says what it could not measure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User as Staff
from django.db import Error, connection
from django.test import Client

from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.jobs.functions.alerts import process_alerts
from monitoring.jobs.outcome import JobFailed
from monitoring.worker.heartbeat import Throttle
from tests.support.database import session
from tests.support.sql import query, run, scalar

pytestmark = [pytest.mark.django_db(transaction=True)]

# Without these nobody can sign in or be known, so no page can be shown; the metrics and the evaluation need none.
OF_THE_SIGN_IN = {"django_session", "staff_sessions", "auth_user", "auth_user_groups", "auth_group",
                  "auth_group_permissions", "auth_permission", "auth_user_user_permissions", "django_content_type",
                  "mfa_authenticator"}  # fmt: skip
# What of the job cannot be done without them.
OF_THE_ALERTS = {"alerts": "evaluated", "notifications": "sent"}
PAGES = ("/admin/", "/admin/monitoring/systemhealth/", "/admin/monitoring/currentalert/",
         "/admin/monitoring/criticalalert/")  # fmt: skip
TOKEN = "a-token-of-prometheus"
GROUPS = 5
MIRROR = "djstripe_"


@contextmanager
def locked(*tables: str) -> Iterator[None]:
    with session() as other:
        other.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def _be_impatient() -> None:
    run("SELECT set_config('statement_timeout', '5s', false), set_config('app.check_patience_ms', '40', false)")


@contextmanager
def in_time() -> Iterator[None]:
    """Whatever takes longer than five seconds is an error, and a lock is not waited for as long as in production."""
    _be_impatient()
    yield
    run("RESET statement_timeout")
    run("RESET app.check_patience_ms")


@contextmanager
def _told(failed: dict[str, str], what: str) -> Iterator[None]:
    """What goes wrong with `what` is noted, and the others have their turn."""
    try:
        yield
    except (AssertionError, Error) as error:
        failed[what] = f"{type(error).__name__}: {error}"[:600]
        connection.close()
        _be_impatient()


def unmeasured() -> str:
    row = query("SELECT status, message FROM v_system_health WHERE check_name = 'unmeasured_checks'")[0]
    return str(row["message"]) if row["status"] != "ok" else ""


@pytest.fixture
def browser(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Client:
    settings.METRICS_TOKEN = TOKEN
    monkeypatch.setattr("glyphforge.database.budget.LOCK_SECONDS", 0.04)
    client = Client()
    client.force_login(Staff.objects.create_superuser("root"))
    return client


def _health() -> tuple[dict[str, Any], dict[str, str]]:
    """Every check, and what is said of those that could not be measured."""
    health = {row["check_name"]: row for row in query("SELECT * FROM v_system_health")}
    return health, {name: row["message"] for name, row in health.items() if row["not_measured"]}


def _answers(browser: Client, *tables: str) -> None:
    """While one table is locked, or several that no check is measured by."""
    health, hidden = _health()
    assert health["blocked_sessions"]["value"] is not None
    assert all("locked by process" in message for message in hidden.values()), hidden
    said = health["unmeasured_checks"]
    assert said["status"] == ("warning" if hidden else "ok")
    assert any(table in said["message"] for table in tables) is bool(hidden)
    wrong = {row["alert_type"] for row in query("SELECT alert_type FROM v_alerts")}
    assert ("unmeasured_checks" in wrong) is bool(hidden)
    query("SELECT 1 FROM v_critical_alerts")

    metrics = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert metrics.status_code == 200
    assert 'glyphforge_health{check="blocked_sessions"}' in metrics.text
    if not OF_THE_SIGN_IN.intersection(tables):
        for page in PAGES:
            answer = browser.get(page)
            assert answer.status_code == 200, page
        if hidden:
            assert tables[0] in browser.get("/admin/monitoring/systemhealth/?q=unmeasured_checks").text
    else:
        # Only what is read of it on the way, and then in words.
        run("SET lock_timeout = '40ms'")
        browser.raise_request_exception = False
        answer = browser.get("/admin/")
        named = f"table {tables[0]} (by process"
        assert answer.status_code == 200 or (answer.status_code == 503 and named in answer.text)
        run("RESET lock_timeout")
    if cannot := OF_THE_ALERTS.get(tables[0]):
        with pytest.raises(JobFailed, match=f"cannot be {cannot}"):
            process_alerts()
    else:
        outcome = evaluate_alerts()
        # And those of which the value is known, but not whom it is about.
        assert set(outcome.detail.get("unmeasured", [])) >= set(hidden)


@pytest.mark.parametrize("group", range(GROUPS))
def test_watch_answers_while_any_one_table_is_locked(browser: Client, group: int) -> None:
    tables = run("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
                 " AND NOT relispartition ORDER BY relname")  # fmt: skip
    # The watch hardly reads the mirror: its tables are locked together.
    units: dict[str, list[str]] = {}
    for (table,) in tables:
        units.setdefault(MIRROR if table.startswith(MIRROR) else table, []).append(table)
    named = [unit for number, unit in enumerate(units) if number % GROUPS == group]
    failed: dict[str, str] = {}
    together = []
    with in_time():
        for unit in named:
            with locked(*units[unit]), _told(failed, unit):
                if unit in OF_THE_SIGN_IN or unit in OF_THE_ALERTS or _health()[1]:
                    _answers(browser, unit)
                else:
                    together.append(unit)
        with locked(*(table for unit in together for table in units[unit])), _told(failed, " ".join(together)):
            _answers(browser, *together)
    assert failed == {}
    assert unmeasured() == ""


def test_hidden_check_is_critical_after_fifteen_minutes(browser: Client) -> None:
    with in_time():
        with locked("stripe_webhook_events"):
            evaluate_alerts()
            evaluate_alerts()
            assert query("SELECT severity, state FROM alerts WHERE fingerprint = 'unmeasured_checks'") == [
                {"severity": "warning", "state": "firing"}
            ]
            run("UPDATE unmeasured_checks SET first_at = first_at - interval '16 minutes'")
            evaluate_alerts()
            assert scalar("SELECT severity FROM alerts WHERE fingerprint = 'unmeasured_checks'") == "critical"
            assert scalar("SELECT status FROM v_system_health WHERE check_name = 'unmeasured_checks'") == "critical"
        evaluate_alerts()
        evaluate_alerts()
    assert scalar("SELECT state FROM alerts WHERE fingerprint = 'unmeasured_checks'") == "resolved"
    assert run("SELECT * FROM unmeasured_checks") == []


def test_alert_of_a_hidden_check_stays_as_it_is(browser: Client) -> None:
    run("INSERT INTO stripe_webhook_events (stripe_event_id, event_type, payload, status, attempts)"
        " VALUES ('evt_1', 'invoice.paid', '{}', 'dead', 8)")  # fmt: skip
    evaluate_alerts()
    with in_time(), locked("stripe_webhook_events"):
        for _ in range(3):
            evaluate_alerts()
    assert scalar("SELECT state FROM alerts WHERE alert_type = 'failed_webhooks'") == "firing"


def test_readyz_waits_for_no_locked_table(
    browser: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("monitoring.probes.LOCK_SECONDS", 0.04)
    monkeypatch.setattr("monitoring.probes._noting", Throttle(seconds=0))
    with in_time(), locked("django_migrations", "readiness_requests", "worker_heartbeats"):
        answer = browser.get("/readyz")
    held = "database error (LockNotAvailable)"
    assert answer.json()["checks"] == {"database": "ok", "migrations": held, "worker": held}
    assert "LockNotAvailable" in caplog.text  # of the note that it was asked
    assert browser.get("/readyz").json()["checks"]["migrations"] == "ok"
