"""The settings of a production installation pass Django's deployment checks, and a wrong one stops the start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "DATABASE_URL": "postgresql://forge:password@db.internal:5432/forge",
    "DJANGO_SECRET_KEY": "production-like-key-of-more-than-fifty-characters-0123456789",
    "API_KEY_PEPPER": "production-like-pepper-of-32-characters-or-more",
    "DJANGO_ALLOWED_HOSTS": "backoffice.example.com",
    "DJANGO_DEBUG": "false",
    "STRIPE_LIVE_MODE": "true",
    "STRIPE_LIVE_SECRET_KEY": "sk_live_" + "a1" * 20,
    "STRIPE_WEBHOOK_SECRET": "whsec_current",
    "BACKUP_DIR": "/var/backups/glyph-forge",
    "METRICS_TOKEN": "a-long-random-token-for-prometheus",
    "ALERT_EMAIL": "alerts@example.com",
    "EMAIL_URL": "smtp+tls://user:password@smtp.example.com:587",
}


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """manage.py as on a fresh machine: nothing of the suite's environment leaks in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=kept | PRODUCTION | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_deploy_finds_nothing() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize("name", ["DATABASE_URL", "DJANGO_SECRET_KEY", "API_KEY_PEPPER", "STRIPE_WEBHOOK_SECRET"])
def test_check_deploy_names_what_is_missing(name: str) -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **{name: ""})
    assert done.returncode == 1
    assert f"{name} is not set" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db/forge"),
        ("DATABASE_REPLICA_URL", "not a url"),
        ("DATABASE_POOL_SIZE", "none"),
        ("API_KEY_PEPPER", "new-one-of-more-than-thirty-two-characters,short"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_DIR", "/nowhere/at/all"),
    ],
)
def test_a_wrong_value_stops_the_start_with_one_line_that_names_it(name: str, value: str) -> None:
    done = manage("check", **{name: value})
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"{name}: ")
