"""`check --deploy` names what a real installation lacks, each with what to set, and is silent once that is done."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import OperationalError

from glyphforge.database import privileges
from glyphforge.database import roles as sql_roles
from tests.support.sql import query


def hint(number: str) -> str | None:
    """What the check with this number asks for; None where it is content."""
    found = [each for each in run_checks(include_deployment_checks=True) if each.id == f"glyphforge.{number}"]
    return " / ".join(str(each.hint) for each in found) or None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("number", "asks_for", "broken", "mended"),
    [
        ("W002", "DATABASE_URL", {"EMBEDDED_DATABASE": True}, {"EMBEDDED_DATABASE": False}),
        ("W003", "whsec_", {"STRIPE_WEBHOOK_SECRETS": []}, {"STRIPE_WEBHOOK_SECRETS": ["whsec_1"]}),
        ("W004", "SLACK_WEBHOOK_URL", {"SLACK_WEBHOOK_URL": "", "ALERT_EMAIL": ""}, {"ALERT_EMAIL": "a@example.com"}),
        ("W004", "ALERT_EMAIL", {"SLACK_WEBHOOK_URL": "", "ALERT_EMAIL": ""}, {"SLACK_WEBHOOK_URL": "https://x.test"}),
        ("W005", "METRICS_TOKEN", {"METRICS_TOKEN": ""}, {"METRICS_TOKEN": "t" * 32}),
        ("W006", "BACKUP_DIR", {"BACKUP_DIR": ""}, {"BACKUP_DIR": "/var/backups"}),
        ("W012", "opened by", {"ALLOWED_HOSTS": ["*"]}, {"ALLOWED_HOSTS": ["b.test"]}),
        ("W008", "BACKOFFICE_URL", {"BACKOFFICE_URL": "http://localhost:8000"}, {"BACKOFFICE_URL": "https://b.test"}),
    ],
)
def test_what_is_lacking_is_named_until_it_is_set(
    settings: Any, number: str, asks_for: str, broken: dict[str, Any], mended: dict[str, Any]
) -> None:
    for name, value in broken.items():
        setattr(settings, name, value)
    assert asks_for in str(hint(number))
    for name, value in mended.items():
        setattr(settings, name, value)
    assert hint(number) is None


@pytest.mark.django_db
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_a_dotenv_that_others_may_read_is_named_until_it_is_private(settings: Any, tmp_path: Path, mode: int) -> None:
    settings.BASE_DIR = tmp_path
    assert hint("W007") is None
    dotenv = tmp_path / ".env"
    dotenv.touch()
    dotenv.chmod(mode)
    fix = str(hint("W007"))
    assert fix == f"chmod 600 {dotenv}"
    dotenv.chmod(int(fix.split()[1], 8))
    assert hint("W007") is None


@pytest.mark.django_db
def test_a_superuser_is_named_until_the_roles_are_there_and_used(settings: Any) -> None:
    settings.EMBEDDED_DATABASE = False
    assert f"{sql_roles.APPLICATION} in DATABASE_URL for both" in str(hint("E004"))
    sql_roles.install()
    query("SET LOCAL ROLE glyphforge_app")
    assert sql_roles.BACKUP in str(hint("W011"))  # no other connection is configured here for backups
    assert privileges.of_application("default") == privileges.of_owner("default") == []
    query("SET LOCAL ROLE glyphforge_backup")
    assert privileges.of_maintenance("default") == []


@pytest.mark.django_db
def test_without_a_database_the_rights_are_nobody_s_problem(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("no route")

    settings.EMBEDDED_DATABASE = False
    monkeypatch.setattr(privileges, "of_all", refuse)
    assert hint("W011") is None
