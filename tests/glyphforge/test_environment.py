"""A wrong variable stops the start with one line that names it and never shows a secret."""

import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import pytest

from glyphforge.environment import Environment, persistent_secret

ROOT = Path(__file__).resolve().parents[2]


def variables(given: dict[str, str]) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "VIRTUAL_ENV"}}
    return base | {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"} | given


def start(**given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import glyphforge.settings"],
        cwd=ROOT,
        env=variables(given),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://secretuser:secretpass@localhost/x"),
        ("DATABASE_URL", "postgresql://secretuser:secretpass@localhost"),
        ("DATABASE_URL", "not a url"),
        ("DJANGO_DEBUG", "maybe"),
        ("DJANGO_SECRET_KEY", "secretpass"),
        ("STRIPE_TEST_SECRET_KEY", "pk_test_secretpass"),
        ("STRIPE_TEST_SECRET_KEY", "sk_test_"),
        ("STRIPE_LIVE_SECRET_KEY", "sk_test_secretpass"),
        ("STRIPE_LIVE_MODE", "perhaps"),
        ("STRIPE_API_HOST", "localhost:12111"),
        ("ENTITLED_STATUSES", "active,canceled"),
        ("ENTITLED_STATUSES", "active past_due"),
        ("QUOTA_COUNTS", "answered"),
        ("SLACK_WEBHOOK_URL", "hooks.slack.com/secretpass"),
        ("DJANGO_ALLOWED_HOSTS", "https://backoffice.example.com"),
        ("DJANGO_ALLOWED_HOSTS", "backoffice.example.com:8000"),
        ("STRIPE_API_HOST", "http://localhost:port"),
        ("ALERT_EMAIL", "nobody"),
        ("ALERT_EMAIL", "one@example.com, two@example.com"),
        ("EMAIL_FROM", "Back office <nobody>"),
        ("AWS_ACCOUNT_ID", "12345"),
        ("AWS_REGION", "nowhere"),
        ("COGNITO_USER_POOL_ID", "arn:aws:cognito-idp"),
        ("SENTRY_DSN", "sentry"),
        ("SENTRY_DSN", "https://sentry.example.com"),
        ("API_SERVICE_TOKENS", "gateway=secretpass"),
        ("API_SERVICE_TOKENS", "secretpass-without-a-name-0123456789"),
        ("STAFF_IDLE_MINUTES", "0"),
        ("STAFF_SESSION_HOURS", "soon"),
        ("STAFF_OIDC_ISSUER", "http://issuer.example"),
        ("STAFF_OIDC_GROUPS", "support"),
        ("STAFF_OIDC_GROUPS", "staff=root"),
        ("DJANGO_PROXIES", "-1"),
        ("MAINTENANCE_DATABASE_URL", "mysql://secretuser:secretpass@localhost/x"),
        ("BACKUP_DIR", "backups"),
        ("BACKUP_KEEP", "0"),
    ],
)
def test_wrong_value_stops_the_start_with_one_line(name: str, value: str) -> None:
    with patch.dict(os.environ, variables({name: value}), clear=True), pytest.raises(SystemExit) as refusal:
        runpy.run_path(str(ROOT / "glyphforge" / "settings.py"))
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert "secret" not in line.removeprefix(name)


@pytest.mark.parametrize(
    "values",
    [
        # As a template of deployment leaves them that were not filled in.
        dict.fromkeys(("EMAIL_URL", "AWS_REGION", "DJANGO_HTTPS", "STAFF_SECOND_FACTOR_REQUIRED", "LOG_LEVEL"), ""),
        {"DJANGO_ALLOWED_HOSTS": "*"},
        {"DJANGO_ALLOWED_HOSTS": ".example.com, [::1],127.0.0.1,xn--bcher-kva.example"},
        {"EMAIL_FROM": "Back office <backoffice@example.com>"},
        {"SENTRY_DSN": "https://0123456789abcdef@o4.ingest.sentry.io/4507"},
        {"COGNITO_USER_POOL_ID": "us-east-1_AbCdEfGhI", "AWS_REGION": "us-gov-west-1"},
    ],
)
def test_right_and_empty_values_are_taken(values: dict[str, str]) -> None:
    result = start(**values)
    assert result.returncode == 0, result.stderr


def test_an_empty_flag_is_an_unset_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAFF_SECOND_FACTOR_REQUIRED", "")
    assert Environment(tmp_path / "none").flag("STAFF_SECOND_FACTOR_REQUIRED", default=True) is True


def test_live_mode_needs_the_live_key() -> None:
    result = start(STRIPE_LIVE_MODE="true")
    assert result.returncode == 1
    assert result.stderr.strip() == "STRIPE_LIVE_SECRET_KEY: must be set when STRIPE_LIVE_MODE is on"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("DATABASE_URL", "is not NAME=value"),
        ("secretpass", "is not NAME=value"),
        ("this is no assignment", "is not NAME=value"),
        ("DATABASE_URL: postgresql://me:secretpass@db/x", "is not NAME=value"),
        ("METRICS_TOKEN = secretpass", "is not NAME=value"),
        ("=secretpass", "is not NAME=value"),
        ("set METRICS_TOKEN=secretpass", "is not NAME=value"),
        ("export", "is not NAME=value"),
        ("2ND=secretpass", "is not NAME=value"),
        ('METRICS_TOKEN="secretpass', "has a quote at one end of its value only"),
        ("METRICS_TOKEN=secretpass'", "has a quote at one end of its value only"),
        ("METRICS_TOKEN='secretpass\"", "has a quote at one end of its value only"),
        ('METRICS_TOKEN="secretpass" # ours', "has a quote at one end of its value only"),
        ("METRICS_TOKEN=secretpass # ours", "has a comment after its value"),
        ("METRICS_TOKEN=secret\0pass", "holds a NUL character"),
        ("A=secretpass", "sets A again, after line 2"),
    ],
)
def test_an_odd_line_of_dotenv_is_named_and_not_shown(tmp_path: Path, line: str, problem: str) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"# fine\nA=1\n\n{line}\n")
    with pytest.raises(SystemExit) as refusal:
        Environment(dotenv)
    assert str(refusal.value).startswith(f"{dotenv}: line 4 {problem}")
    assert "secret" not in str(refusal.value)


def test_a_dotenv_of_another_encoding_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("A=secret\n".encode("utf-16"))
    with pytest.raises(SystemExit, match=r"\.env: is not UTF-8 text$"):
        Environment(tmp_path / ".env")


def test_a_dotenv_that_is_no_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cannot be read: Is a directory"):
        Environment(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(SystemExit, match=r"cannot be read: No such file"):
        Environment(tmp_path / "link")


def test_lines_that_every_reader_takes_alike_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "GLYPHFORGE_TEST_C": "plain=and more",
        "GLYPHFORGE_TEST_D": "with # inside",
        "GLYPHFORGE_TEST_E": "$begins with a dollar",
        "GLYPHFORGE_TEST_F": "a#b",
        "GLYPHFORGE_TEST_G": "",
    }
    lines = [
        "  export  GLYPHFORGE_TEST_C=plain=and more  ",
        '\tGLYPHFORGE_TEST_D="with # inside"',
        "GLYPHFORGE_TEST_E='$begins with a dollar'",
        "GLYPHFORGE_TEST_F=a#b",
        "GLYPHFORGE_TEST_G=",
        "  # a comment",
        "   ",
    ]
    for name in expected:
        monkeypatch.setenv(name, "undone after the test")
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text("\ufeff" + "\r\n".join(lines))
    env = Environment(tmp_path / ".env")
    assert {name: env.text(name) for name in expected} == expected


def test_environment_wins_over_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLYPHFORGE_TEST_A", "environment")
    (tmp_path / ".env").write_text("GLYPHFORGE_TEST_A=file\nGLYPHFORGE_TEST_B=file\n")
    env = Environment(tmp_path / ".env")
    monkeypatch.setenv("GLYPHFORGE_TEST_B", os.environ["GLYPHFORGE_TEST_B"])  # undone after the test
    assert (env.text("GLYPHFORGE_TEST_A"), env.text("GLYPHFORGE_TEST_B")) == ("environment", "file")


def test_socket_directory_in_a_database_url_becomes_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@/glyphforge?host=/run/postgresql&port=5433")
    config = Environment(tmp_path / "none").database("DATABASE_URL")
    assert config is not None
    assert (config["NAME"], config["HOST"], str(config["PORT"])) == ("glyphforge", "/run/postgresql", "5433")


def test_generated_secret_is_one_even_when_many_processes_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secret_key"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: persistent_secret(path, "KEY"), range(32)))
    assert len(found) == 1
    assert len(found.pop()) >= 50
    assert path.stat().st_mode & 0o077 == 0
    assert [child.name for child in path.parent.iterdir()] == ["secret_key"]


def test_a_secret_that_cannot_be_kept_has_to_be_set(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where the folder should be")
    with pytest.raises(SystemExit, match=r"^DJANGO_SECRET_KEY: must be set, as none can be kept in .*: \w"):
        persistent_secret(tmp_path / "var" / "secret_key", "DJANGO_SECRET_KEY")
