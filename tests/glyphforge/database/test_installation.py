"""A copy of production is known as one, is silent, and becomes production only when it is told to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client

from billing.keys import leak_notice
from billing.stripe import gateway
from billing.stripe.errors import PermanentError
from demo.stripe.server import StripeServer
from glyphforge.database import backup, installation, restore, roles
from glyphforge.database.clock import database_time
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.jobs import runner, schedules
from monitoring.models import JobRun, Notification
from monitoring.notifications import Undelivered, mail, slack
from monitoring.notifications.outbox import deliver_notifications
from tests.support import database, factories
from tests.support.sql import query


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    installation.forget()
    yield
    installation.forget()


@pytest.fixture
def copy(db: None) -> None:
    """The test database as it is after it was restored elsewhere: its row names another server's."""
    query("UPDATE installation SET system_identifier = 1")


def test_a_migrated_database_is_production_and_migrating_again_leaves_it_alone(db: None) -> None:
    before = query("SELECT * FROM installation")
    installation.install_after_migrate("default")
    assert installation.is_production()
    assert query("SELECT * FROM installation") == before
    query("DELETE FROM installation")
    installation.install_after_migrate("default")
    assert query("SELECT adopted_by FROM installation") == [{"adopted_by": "migrate"}]


@pytest.mark.parametrize("changed", ["system_identifier = 1", "table_oid = 1"])
def test_another_server_or_table_makes_a_copy(db: None, changed: str) -> None:
    query(f"UPDATE installation SET {changed}")
    assert not installation.is_production()
    installation.install_after_migrate("default")
    assert not installation.is_production()


def test_a_restored_backup_is_a_copy_and_its_source_is_not(operated: str, empty: str, tmp_path: Path) -> None:
    dump, _ = backup.take(tmp_path / "a.dump", alias=operated)
    restore.restore(dump, into=empty, alias=operated)
    assert installation.is_production(operated)
    with restore.other_database(empty, operated) as target:
        assert not installation.is_production(target.alias)
        installation.adopt(target.alias, actor="ada")
        assert installation.is_production(target.alias)
        with target.cursor() as cursor:
            cursor.execute("SELECT actor, new_values ->> 'database_name' FROM audit_log"
                           " WHERE table_name = 'installation'")  # fmt: skip
            assert cursor.fetchall() == [("ada", empty)]


def test_commands_say_what_they_would_do_and_do_it(copy: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("database", "adopt")
    assert not installation.is_production()
    assert capsys.readouterr().out.rstrip().endswith("would become production: --apply does it")
    call_command("database", "adopt", "--apply")
    assert installation.is_production()
    with pytest.raises(CommandError, match="is production already"):
        call_command("database", "adopt", "--apply")
    call_command("database", "disown")
    assert installation.is_production()
    call_command("database", "disown", "--apply")
    assert not installation.is_production()
    assert [
        row["action"] for row in query("SELECT action FROM audit_log WHERE table_name = 'installation' ORDER BY id")
    ] == ["adopt", "disown"]


def test_init_says_that_a_copy_is_one(copy: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("database", "init")
    assert installation.COPY in capsys.readouterr().out


def test_the_application_cannot_make_itself_production(copy: None) -> None:
    roles.install()
    query("SET LOCAL ROLE glyphforge_app")
    assert not installation.is_production()
    with pytest.raises(Exception, match="permission denied for table installation"):
        call_command("database", "adopt", "--apply")


@pytest.mark.django_db(transaction=True)
def test_a_locked_row_is_not_waited_for_and_silences_nobody() -> None:
    with database.session() as other:
        other.execute("LOCK TABLE installation IN ACCESS EXCLUSIVE MODE")
        with connections["default"].cursor() as cursor:
            cursor.execute("SET statement_timeout = '20s'")
        assert installation.is_production()


class TestCopy:
    def test_runs_no_schedule_and_a_job_by_hand(self, copy: None) -> None:
        schedules.install()
        query("UPDATE job_schedules SET next_due_at = now() - interval '1 hour'")
        for name in ("rollup", "alerts"):
            message = runner.run_slot(name, scheduled_for=database_time().isoformat())
            assert message == f"{name}: not run. {installation.COPY}"
            assert runner.run_due_slot(name, trigger="cron").outcome == "taken"
        assert schedules.due() == schedules.skipped_elsewhere() == []
        assert not JobRun.objects.exists()
        assert runner.run("rollup", trigger="manual").outcome == "succeeded"

    def test_evaluates_and_sends_nothing_and_keeps_what_waits(
        self, copy: None, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.SLACK_WEBHOOK_URL, settings.ALERT_EMAIL = "http://127.0.0.1:9/x", "oncall@example.com"
        waiting = Notification.objects.create(
            channel="slack", kind="opened", alert=factories.alert(), severity="critical", message="x",
            next_attempt_at=database_time(),
        )  # fmt: skip
        assert evaluate_alerts().detail == {"skipped": installation.COPY}
        assert deliver_notifications().detail == {"skipped": installation.COPY}
        waiting.refresh_from_db()
        assert (waiting.status, waiting.attempts) == (Notification.Status.PENDING, 0)
        with pytest.raises(Undelivered, match="is a copy"):
            slack.post({"text": "x"})
        with pytest.raises(Undelivered, match="is a copy"):
            mail.send(subject="x", text="x", html="x", delivery_id=uuid4())
        leak_notice.send(factories.api_key(factories.customer(), revoked_at=database_time(), revoked_reason="leaked"))
        assert mailoutbox == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda: gateway.modify("subscription", "sub_1", cancel_at_period_end=True, idempotency_key="1"),
            lambda: gateway.call("subscription", "cancel", "sub_1", idempotency_key="1"),
            lambda: gateway.create("refund", "charge ch_1", charge="ch_1", amount=1, idempotency_key="1"),
        ],
    )
    def test_changes_nothing_at_stripe(
        self, copy: None, stripe_server: StripeServer, change: Callable[[], object]
    ) -> None:
        with pytest.raises(PermanentError, match="This database is a copy"):
            change()
        assert stripe_server.requests == []

    def test_says_so_on_every_page(self, copy: None, signed_in: Callable[[str], Client]) -> None:
        client = signed_in("operator")
        for path in ("/admin/", "/admin/billing/user/", "/admin/monitoring/jobschedule/"):
            assert client.get(path).content.decode().count("This database is a copy") == 1
        query("UPDATE installation AS i SET system_identifier = (SELECT system_identifier FROM this_database())")
        assert "is a copy" not in client.get("/admin/").content.decode()
