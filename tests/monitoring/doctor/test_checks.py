"""Each line of the doctor: broken on purpose, mended as the line says, and well again."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from billing.stripe import gateway
from demo.stripe.server import StripeServer, endpoint
from glyphforge.database import clock, connection, installation
from glyphforge.database import roles as sql_roles
from monitoring import probes
from monitoring.doctor import backups, channels, database, health, processes, stripe
from monitoring.doctor import settings as settings_checks
from monitoring.doctor.finding import Finding
from monitoring.jobs import schedules
from monitoring.models import WorkerHeartbeat
from tests.support import mail_server, slack
from tests.support.sql import query

pytestmark = pytest.mark.django_db


def well(findings: Iterable[Finding]) -> bool:
    found = list(findings)
    return bool(found) and {each.status for each in found} == {"ok"}


def fix(findings: Iterable[Finding], status: str, text: str) -> str:
    """The fix of the one finding that says this."""
    found = list(findings)
    matching = [each for each in found if each.status == status and text in each.message]
    assert len(matching) == 1, "\n".join(map(str, found))
    assert matching[0].fix
    return matching[0].fix


def refuse(text: str) -> None:
    raise connection.DatabaseError(text)


class TestSettings:
    def test_what_check_deploy_says_comes_with_its_hint(self, settings: Any) -> None:
        settings.METRICS_TOKEN = ""
        assert "METRICS_TOKEN" in fix(settings_checks.deployment(), "warning", "glyphforge.W005")
        settings.METRICS_TOKEN = "t" * 32
        assert not [each for each in settings_checks.deployment() if "W005" in each.message]

    def test_pages_over_http_and_under_any_name(self, settings: Any) -> None:
        settings.HTTPS, settings.ALLOWED_HOSTS = False, ["*"]
        assert "DJANGO_HTTPS=true" in fix(settings_checks.deployment(), "warning", "DJANGO_HTTPS is off")
        assert "DJANGO_ALLOWED_HOSTS" in fix(settings_checks.deployment(), "warning", "takes every name")
        settings.HTTPS, settings.ALLOWED_HOSTS = True, ["billing.example.com"]
        found = [each.message for each in settings_checks.deployment()]
        assert not [message for message in found if "HTTPS is off" in message or "every name" in message]

    def test_debug_is_critical_but_in_the_demo(self, settings: Any) -> None:
        settings.DEBUG, settings.EMBEDDED_DATABASE = True, False
        assert fix(settings_checks.deployment(), "critical", "DJANGO_DEBUG is on") == "set DJANGO_DEBUG=false"
        settings.EMBEDDED_DATABASE = True
        assert well(settings_checks.deployment())

    def test_weak_and_foreign_secrets_are_named_and_not_shown(self, settings: Any) -> None:
        settings.METRICS_TOKEN = "hunter2hunter2"
        settings.DATABASES["default"]["PASSWORD"] = "swordfish"
        found = list(settings_checks.secrets())
        assert not [each for each in found if re.search("hunter2|swordfish", f"{each.message}{each.fix}")]
        assert "token_urlsafe" in fix(found, "warning", "the password in DATABASE_URL has fewer than 16 characters")
        assert "METRICS_TOKEN" in fix(found, "warning", "METRICS_TOKEN has fewer than 16 characters")
        settings.METRICS_TOKEN = "h" * 40
        settings.DATABASES["default"]["PASSWORD"] = ""
        settings.STRIPE_WEBHOOK_SECRETS = ["sk_test_instead_of_it"]
        assert "whsec_" in fix(settings_checks.secrets(), "critical", "no signing secret")
        settings.STRIPE_WEBHOOK_SECRETS = ["whsec_current"]
        assert well(settings_checks.secrets())


class TestDatabase:
    def test_a_connection_that_fails_is_named_by_its_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert well(database.connections_answer())
        parameters = connections["default"].settings_dict
        with monkeypatch.context() as patch:
            patch.setattr(database.connection, "probe", lambda alias: refuse(f"{parameters['HOST']} is not reached"))
            assert "correct DATABASE_URL" in fix(database.connections_answer(), "critical", "DATABASE_URL: ")

    def test_a_server_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old = connection.Probe("x", "x", "14.9 (Debian)", 1.0)
        monkeypatch.setattr(database.connection, "probe", lambda alias: old)
        assert "PostgreSQL 15 or newer" in fix(database.connections_answer(), "critical", "PostgreSQL 14.9")

    def test_a_migration_that_is_missing(self) -> None:
        assert well(database.migrations())
        (last,) = query("SELECT max(name) AS name FROM django_migrations WHERE app = 'monitoring'")
        query("DELETE FROM django_migrations WHERE app = 'monitoring' AND name = %s", last["name"])
        assert "manage.py database init" in fix(database.migrations(), "critical", f"monitoring.{last['name'][:4]}")

    def test_a_database_that_differs(self) -> None:
        assert well(database.definitions())
        query("DROP INDEX backup_runs_latest")
        assert "verify --sql" in fix(database.definitions(), "warning", "missing index backup_runs.backup_runs_latest")

    def test_rights_of_each_role(self, settings: Any) -> None:
        settings.EMBEDDED_DATABASE = False
        assert "init --roles" in fix(database.roles(), "critical", "a superuser")
        sql_roles.install()
        query("SET LOCAL ROLE glyphforge_app")
        assert "MAINTENANCE_DATABASE_URL" in fix(database.roles(), "critical", "may not create databases")
        query("RESET ROLE")
        query("REVOKE UPDATE ON users FROM glyphforge_app")
        query("REVOKE pg_read_all_stats FROM glyphforge_app")
        query("ALTER TABLE users OWNER TO CURRENT_USER")
        query("GRANT CREATE ON SCHEMA public TO PUBLIC")
        query("SET LOCAL ROLE glyphforge_app")
        lacking = fix(database.roles(), "critical", "lacks UPDATE on users")
        owned = fix(database.roles(), "critical", "users do not belong to glyphforge_owner")
        granted = fix(database.roles(), "warning", "does not see other sessions").removeprefix("as a superuser: ")
        revoked = fix(database.roles(), "warning", "every role may create functions").removeprefix("as a superuser: ")
        query("RESET ROLE")
        assert lacking == owned == "as a superuser run: manage.py database init --roles"
        query(granted)
        query(revoked)
        sql_roles.install()
        query("SET LOCAL ROLE glyphforge_app")
        assert not [each for each in database.roles() if "glyphforge_backup" not in each.fix]

    def test_a_copy_of_production(self) -> None:
        assert well(database.production())
        query("UPDATE installation SET system_identifier = 1")
        installation.forget()
        assert fix(database.production(), "critical", "is a copy").startswith("manage.py database adopt --apply")
        installation.adopt("default", actor="ada")
        assert well(database.production())

    @pytest.mark.parametrize(("seconds", "status"), [(20, "warning"), (-400, "critical")])
    def test_clocks_that_differ(
        self, account: StripeServer, monkeypatch: pytest.MonkeyPatch, seconds: int, status: str
    ) -> None:
        assert well(database.clock())
        with monkeypatch.context() as patch:
            for module in (database, clock):
                patch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() - seconds))
            found = list(database.clock())
        assert [each.status for each in found] == [status, status]  # beside the database's and Stripe's
        assert "timedatectl set-ntp true" in fix(found, status, "the database's")
        assert "timedatectl set-ntp true" in fix(found, status, "Stripe's")

    def test_no_pooler(self) -> None:
        assert well(database.pooler())


@pytest.fixture
def account(stripe_server: StripeServer, settings: Any) -> Iterator[StripeServer]:
    """A Stripe that knows its account and sends its events here."""
    settings.BACKOFFICE_URL = "https://billing.example.com"
    gateway.clear_cache()
    stripe_server.world.put({"id": "acct_1", "object": "account"})
    stripe_server.world.put(endpoint("https://billing.example.com/webhooks/stripe"))
    yield stripe_server
    gateway.clear_cache()


def answering(path: str, body: dict[str, Any], status: int = 200) -> Callable[[str, str], Any]:
    """Has the local Stripe answer this to one path."""
    return lambda method, asked: (status, body, {}) if asked == path else None


class TestStripe:
    def test_a_key_that_is_missing_or_refused(self, account: StripeServer, settings: Any) -> None:
        assert well(stripe.key())
        given, settings.STRIPE_TEST_SECRET_KEY = settings.STRIPE_TEST_SECRET_KEY, ""
        assert "STRIPE_TEST_SECRET_KEY" in fix(stripe.key(), "critical", "STRIPE_TEST_SECRET_KEY is not set")
        settings.STRIPE_TEST_SECRET_KEY = given
        gateway.clear_cache()
        account.intercept = answering("/v1/account", {"error": {"message": "Invalid API Key provided"}}, 401)
        assert "STRIPE_TEST_SECRET_KEY" in fix(stripe.key(), "critical", "Stripe refused the API key")
        account.intercept = None
        assert well(stripe.key())

    def test_a_stripe_that_is_not_reached(self, account: StripeServer, settings: Any) -> None:
        settings.STRIPE_API_HOST = "http://127.0.0.1:9"
        gateway.configure()
        gateway.clear_cache()
        (found,) = stripe.key()
        assert found.message == "Stripe did not answer for the account: it was not reached, or not in time"
        assert found.fix.endswith("this machine must reach http://127.0.0.1:9")

    def test_a_key_of_the_other_mode(self, account: StripeServer, settings: Any) -> None:
        account.intercept = answering("/v1/balance", {"object": "balance", "livemode": True})
        named = fix(stripe.key(), "critical", "STRIPE_LIVE_MODE is test, and Stripe answers in live mode")
        assert named.startswith("set STRIPE_LIVE_MODE=true")
        settings.STRIPE_LIVE_MODE, settings.STRIPE_LIVE_SECRET_KEY = True, "sk_live_" + "0" * 24
        assert well(stripe.key())

    def test_no_secret_to_verify_events_with(self, account: StripeServer, settings: Any) -> None:
        assert well(stripe.webhook())
        settings.STRIPE_WEBHOOK_SECRETS = []
        named = fix(stripe.webhook(), "critical", "STRIPE_WEBHOOK_SECRET is not set")
        assert "https://billing.example.com/webhooks/stripe/" in named

    def test_an_endpoint_that_is_missing_off_deaf_or_of_the_other_mode(self, account: StripeServer) -> None:
        address = "https://billing.example.com/webhooks/stripe/"
        account.world.forget("we_1")
        assert address in fix(stripe.webhook(), "critical", "to no endpoint of this installation")
        account.world.put(endpoint(address, status="disabled"))
        assert "enable it" in fix(stripe.webhook(), "critical", "is switched off")
        account.world.put(endpoint(address, livemode=True))
        assert "test mode" in fix(stripe.webhook(), "critical", "is not one of test mode")
        account.world.put(endpoint(address, enabled_events=["invoice.*", "customer.*"]))
        assert "all events" in fix(stripe.webhook(), "warning", "is not sent charge.refunded, price.updated")
        account.world.put(endpoint(address))
        assert well(stripe.webhook())

    def test_a_key_that_may_not_list_endpoints(self, account: StripeServer) -> None:
        account.intercept = answering("/v1/webhook_endpoints", {"error": {"message": "may not"}}, 403)
        assert "the right to read webhook endpoints" in fix(stripe.webhook(), "warning", "may not")


class TestChannels:
    def test_slack_reached_for_and_tried(self, settings: Any) -> None:
        assert well(channels.slack(send=True))  # not configured: the settings' check says so
        with slack.serving() as server:
            assert well(channels.slack(send=False))
            assert server.posts == []
            assert well(channels.slack(send=True))
            assert "manage.py doctor" in server.posts[0]["text"]
            server.status = 404
            found = list(channels.slack(send=True))
            assert "Incoming Webhooks" in fix(found, "critical", "Slack answered 404")
            assert "secret" not in f"{found}"
        settings.SLACK_WEBHOOK_URL = server.url  # gone
        assert "SLACK_WEBHOOK_URL" in fix(channels.slack(send=False), "critical", "is not reached")

    def test_mail_reached_for_and_tried(self, settings: Any) -> None:
        assert well(channels.email(send=True))
        with mail_server.serving() as box:
            assert well(channels.email(send=False))
            assert box.messages == []
            assert well(channels.email(send=True))
            assert len(box.messages) == 1
            port = settings.EMAIL_PORT
            backend = settings.EMAIL_BACKEND
        settings.ALERT_EMAIL, settings.EMAIL_BACKEND, settings.EMAIL_PORT = "a@example.com", backend, port
        settings.EMAIL_HOST = "127.0.0.1"
        assert "EMAIL_URL" in fix(channels.email(send=False), "critical", "refused")


class TestBackups:
    def test_a_folder_that_is_missing_closed_or_full(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert well(backups.backups())
        folder = tmp_path / "backups"
        settings.BACKUP_DIR = str(folder)
        named = fix(backups.backups(), "critical", "is no folder")
        assert named.endswith(f"install --directory --mode=0700 {folder}")
        folder.mkdir(mode=0o700)
        assert well(backups.backups())
        with monkeypatch.context() as patch:
            patch.setattr(backups.os, "access", lambda *_: False)  # the suite may be root's, who may everything
            assert "chown" in fix(backups.backups(), "critical", "cannot be written to")
        with monkeypatch.context() as patch:
            patch.setattr(backups.shutil, "disk_usage", lambda _: backups.shutil._ntuple_diskusage(100, 90, 10))
            assert "BACKUP_KEEP" in fix(backups.backups(), "warning", "10\xa0bytes free")

    def test_programs_older_than_the_server(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.BACKUP_DIR = str(tmp_path)
        monkeypatch.setattr("glyphforge.database.connection.with_client", lambda name: [])
        assert "apt-get install postgresql-client-" in fix(backups.backups(), "critical", "no pg_dump of")


class TestProcesses:
    def test_a_schedule_that_is_gone_or_off(self) -> None:
        schedules.install()
        assert well(processes.schedules())
        query("UPDATE job_schedules SET enabled = false WHERE job = 'rollup'")
        assert "/admin/monitoring/jobschedule/" in fix(processes.schedules(), "warning", "switched off: rollup")
        query("DELETE FROM django_q_schedule WHERE name = 'rollup'")
        query("DELETE FROM job_schedules WHERE job = 'rollup'")
        assert fix(processes.schedules(), "critical", "no schedule for rollup") == "manage.py database init"
        schedules.install()
        assert well(processes.schedules())

    def test_a_worker_that_is_not_there(self) -> None:
        query("DELETE FROM worker_heartbeats")
        assert "glyph-forge-worker" in fix(processes.worker(), "critical", "no worker")
        WorkerHeartbeat.objects.create(host="a", pid=1, cluster_pid=1, role="pusher")
        assert well(processes.worker())

    def test_a_back_office_that_is_not_where_links_lead(self, settings: Any, live_server: Any) -> None:
        settings.BACKOFFICE_URL = live_server.url
        assert well(processes.web())
        settings.BACKOFFICE_URL = "http://127.0.0.1:9"
        assert "BACKOFFICE_URL" in fix(processes.web(), "critical", "http://127.0.0.1:9/healthz")
        settings.BACKOFFICE_URL = f"{live_server.url}/nowhere"
        assert "BACKOFFICE_URL" in fix(processes.web(), "critical", "answers 404")

    def test_nobody_who_asks_from_outside(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probes, "_noting", probes.Throttle(seconds=60))
        assert "/readyz every minute" in fix(processes.prober(), "warning", "nobody has ever asked")
        client.get("/readyz")
        assert well(processes.prober())
        query("UPDATE readiness_requests SET asked_at = now() - interval '20 minutes'")
        assert "/readyz every minute" in fix(processes.prober(), "warning", "nobody has asked /readyz for 20 minutes")
        client.get("/readyz")
        assert not well(processes.prober()), "a process notes it once a minute"


def test_a_health_check_that_is_not_well_comes_with_its_remedy() -> None:
    schedules.install()
    query("INSERT INTO unmatched_stripe_customers (stripe_customer_id, reason) VALUES ('cus_1', 'none')")
    assert "Link to a customer" in fix(health.health(), "warning", "belong to nobody here")
    query("DELETE FROM unmatched_stripe_customers")
    assert not [each for each in health.health() if "belong to nobody here" in each.message]
