"""The runbook on an alert's page: of every check, with this installation's own commands, and no secret."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from monitoring.admin import runbook
from monitoring.alerts.runbook import entry
from tests.support import factories
from tests.support.admin_pages import row_page
from tests.support.sql import query

pytestmark = pytest.mark.django_db


def test_it_has_a_row_of_every_check() -> None:
    checks = [row["check_name"] for row in query("SELECT check_name FROM health_checks")]
    assert [check for check in checks if entry(check) is None] == []


def test_alert_page_has_the_commands_of_this_machine_and_links(
    signed_in: Callable[[str], Client], django_assert_max_num_queries: Any
) -> None:
    alert = factories.alert(
        fingerprint="overdue_jobs:sync", alert_type="overdue_jobs", object_type="job", object_id="sync"
    )
    support = signed_in("support")
    with django_assert_max_num_queries(16):
        page = support.get(row_page(alert)).content.decode()
    assert f"{sys.executable} {settings.BASE_DIR / 'manage.py'} run_job sync" in page
    failed = factories.alert(object_id="evt_1", fingerprint="failed_webhooks:evt_1")
    page = support.get(row_page(failed)).content.decode()
    assert f'href="{reverse("admin:billing_webhookevent_changelist")}">Webhook events</a>' in page
    assert "<em>Retry webhooks</em>" in page


def test_psql_is_named_with_the_database_and_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"dbname": "forge", "host": "db.internal", "port": 5433, "user": "glyphforge_owner", "password": "hunter2"}
    monkeypatch.setattr("django.db.backends.postgresql.base.DatabaseWrapper.get_connection_params", lambda self: given)
    assert runbook.psql() == "psql --host=db.internal --port=5433 --username=glyphforge_owner forge"
    alert = factories.alert(fingerprint="dead_rows", alert_type="dead_rows", object_type="check", object_id=None)
    text = runbook.shown(alert)
    assert "VACUUM (ANALYZE)" in text
    assert "psql --host=db.internal" in text
    assert "hunter2" not in text


def test_what_the_runbook_says_is_no_markup_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from monitoring.alerts.runbook import Entry

    monkeypatch.setattr("monitoring.alerts.runbook.entry", lambda check: Entry("<b>a</b> & `<i>`", "*<u>*"))
    text = runbook.shown(factories.alert())
    assert "&lt;b&gt;a&lt;/b&gt; &amp; <code>&lt;i&gt;</code>" in text
    assert "<em>&lt;u&gt;</em>" in text


def test_without_a_row_the_check_s_own_remedy_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.alerts.runbook.entry", lambda check: None)
    assert runbook.shown(factories.alert(remediation="Map the price.")) == "Map the price."


def test_the_container_takes_it_along() -> None:
    lines = (settings.BASE_DIR / "deploy" / "compose" / "Dockerfile").read_text().splitlines()
    assert "COPY docs/runbook.md docs/" in lines
