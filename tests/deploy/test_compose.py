"""The compose file names services that exist, keeps secrets out of images and starts things in order."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from glyphforge.database import roles
from monitoring.worker.watchdog import STOP_SECONDS
from tests.support.waiting import wait_for
from tests.support.web import web_process

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
# As compose.yaml has it.
PRODUCTION = {"DJANGO_DEBUG": "false", "DJANGO_SECRET_KEY": "x" * 64}
SERVICES: dict[str, Any] = COMPOSE["services"]


def complaints(path: Path) -> str:
    """What the schema of the Compose specification has against the file; empty when nothing."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout if done.returncode else ""


def test_file_is_what_the_specification_says() -> None:
    assert complaints(FOLDER / "compose.yaml") == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("depends_on:", "depends-on:"),
        ("condition: service_healthy", "condition: service_ready"),
        ("stop_grace_period: 90s", "stop_grace_period: [90s]"),
    ],
)
def test_what_the_specification_does_not_know_is_found(tmp_path: Path, right: str, wrong: str) -> None:
    text = (FOLDER / "compose.yaml").read_text()
    assert right in text
    (tmp_path / "compose.yaml").write_text(text.replace(right, wrong))
    assert complaints(tmp_path / "compose.yaml") != ""


def test_web_and_workers_go_through_pgbouncer_and_migrations_do_not() -> None:
    urls = {name: SERVICES[name]["environment"]["DATABASE_URL"] for name in ("web", "worker", "migrate")}
    assert "@pgbouncer:6432/" in urls["web"]
    assert "@pgbouncer:6432/" in urls["worker"]
    assert "@postgres:5432/" in urls["migrate"]


def test_web_and_worker_neither_connect_as_a_superuser_nor_know_its_password() -> None:
    superuser = SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    of_each = {"web": {roles.WEB}, "worker": {roles.WORKER, roles.RETENTION, roles.BACKUP}}
    for name in ("web", "worker"):
        values = SERVICES[name]["environment"]
        assert values["POSTGRES_PASSWORD"] == ""
        users = [urlsplit(value.replace("?", "")).username for key, value in values.items() if key.endswith("_URL")]
        assert set(users) == of_each[name]
        assert superuser not in users
    assert f"//{superuser}:" in SERVICES["migrate"]["environment"]["DATABASE_URL"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_health_check_passes_while_web_answers_and_only_then(tmp_path: Path) -> None:
    """As the container runs it, whatever hosts the application is asked for otherwise."""
    word, program, *arguments = SERVICES["web"]["healthcheck"]["test"]
    assert (word, program) == ("CMD", "python")
    with web_process(tmp_path, DJANGO_ALLOWED_HOSTS="billing.example.com", **PRODUCTION) as web:
        command = [sys.executable, *(each.replace("http://127.0.0.1:8000", web.origin) for each in arguments)]
        assert web.origin in command[-1]
        wait_for(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0)
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_no_container_runs_as_root_and_what_it_writes_it_may() -> None:
    """All but /tmp and the backups is read only, and the images end with a user of their own."""
    for dockerfile in FOLDER.glob("*Dockerfile"):
        users = re.findall(r"^USER (\S+)$", dockerfile.read_text(), re.MULTILINE)
        assert users, dockerfile.name
        assert users[-1] not in {"root", "0"}, dockerfile.name
    for name in ("migrate", "web", "worker"):
        service = SERVICES[name]
        assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])
        assert "no-new-privileges:true" in service["security_opt"]


def test_the_migration_gives_the_roles_their_passwords_and_says_none(tmp_path: Path) -> None:
    """As the container runs it, with a stand-in for manage.py and psql taking what it is told."""
    for name in ("python", "psql"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"; [ {name} = python ] || cat\n')
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", str(FOLDER / "migrate.sh")],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "DATABASE_URL": "postgresql://x",
            "GLYPHFORGE_WEB_PASSWORD": "secret",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python manage.py database init --roles" in done.stdout
    for role in (roles.WEB, roles.WORKER, roles.RETENTION, roles.BACKUP):
        assert f"ALTER ROLE {role} PASSWORD" in done.stdout
    assert "secret" not in done.stdout


def test_every_variable_that_has_to_be_set_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?", (FOLDER / "compose.yaml").read_text()))
    ours = {f"GLYPHFORGE_{name}_PASSWORD" for name in ("WEB", "WORKER", "RETENTION", "BACKUP")}
    assert wanted == {"POSTGRES_PASSWORD"} | ours
    assert all(f"#{name}=\n" in example for name in wanted)


def test_nothing_starts_before_what_it_needs() -> None:
    for name, service in SERVICES.items():
        for needed, condition in service.get("depends_on", {}).items():
            assert needed in SERVICES, name
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], needed
    for name in ("web", "worker"):
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_only_the_web_process_is_reachable_and_only_from_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8000:8000"]}


def test_every_file_that_an_image_copies_exists() -> None:
    for dockerfile in FOLDER.glob("*Dockerfile"):
        sources = re.findall(r"^COPY (?!--from)(?:--\S+ )?(\S+) \S+$", dockerfile.read_text(), re.MULTILINE)
        assert sources
        for source in sources:
            assert (ROOT / source).exists(), f"{dockerfile.name}: {source}"


def test_backups_reach_the_server_itself_and_web_may_not_do_what_the_owner_may() -> None:
    address = urlsplit(SERVICES["worker"]["environment"]["MAINTENANCE_DATABASE_URL"].replace("?", ""))
    assert (address.username, address.hostname, address.port) == (roles.BACKUP, "postgres", 5432)
    assert "MAINTENANCE_DATABASE_URL" not in SERVICES["web"]["environment"]


def test_backups_go_to_a_volume_that_lasts() -> None:
    worker = SERVICES["worker"]
    (volume,) = worker["volumes"]
    name, _, folder = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert worker["environment"]["BACKUP_DIR"] == folder
    # A new volume takes owner and mode from the image's folder.
    assert f"install --directory --owner=glyphforge --mode=0700 {folder}" in (FOLDER / "Dockerfile").read_text()


def test_every_volume_that_a_service_mounts_is_declared() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])


def test_no_password_is_written_down() -> None:
    for path in [*FOLDER.iterdir(), *(ROOT / "deploy" / "pgbouncer").iterdir()]:
        for line in path.read_text().splitlines():
            found = re.search(r"PASSWORD(?:=|: )\s*(?!\$\{[A-Z_]+_PASSWORD:\?|\"\"$)\S", line)
            assert not found or line.lstrip().startswith("#"), f"{path.name}: {line}"


def test_a_stopping_worker_gets_the_time_that_its_watchdog_takes() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    unit = (ROOT / "deploy" / "systemd" / "glyph-forge-worker.service").read_text()
    assert int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) > STOP_SECONDS
