"""The compose file names services that exist, keeps secrets out of images and starts things in order."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.watchdog import STOP_SECONDS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def can_compose() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_compose(), reason="docker compose is not installed")
def test_compose_accepts_the_file(tmp_path: Path) -> None:
    environment = tmp_path / "env"
    environment.write_text("POSTGRES_PASSWORD=x\n")
    command = ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), "--env-file", str(environment), "config"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_web_and_workers_go_through_pgbouncer_and_migrations_do_not() -> None:
    urls = {name: SERVICES[name]["environment"]["DATABASE_URL"] for name in ("web", "worker", "migrate")}
    assert "@pgbouncer:6432/" in urls["web"]
    assert urls["worker"] == urls["web"]
    assert "@postgres:5432/" in urls["migrate"]


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


def test_no_password_is_written_down() -> None:
    for path in [*FOLDER.iterdir(), *(ROOT / "deploy" / "pgbouncer").iterdir()]:
        for line in path.read_text().splitlines():
            found = re.search(r"PASSWORD(?:=|: )\s*(?!\$\{POSTGRES_PASSWORD)\S", line)
            assert not found or line.lstrip().startswith("#"), f"{path.name}: {line}"


def test_a_stopping_worker_gets_the_time_that_its_watchdog_takes() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    unit = (ROOT / "deploy" / "systemd" / "glyph-forge-worker.service").read_text()
    assert int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) > STOP_SECONDS
