"""The systemd units are valid, and the timers fire when the jobs are due."""

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from deploy.systemd import install
from monitoring.jobs.cron import slot_after
from monitoring.jobs.deadline import GRACE_SECONDS
from monitoring.jobs.registry import JOBS
from monitoring.jobs.schedules import WORKER_GRACE_SECONDS
from tests.support import processes
from tests.support.needs import needs

ROOT = Path(__file__).resolve().parents[2]
needs_systemd = needs(shutil.which("systemd-analyze"), "systemd-analyze")


def written(tmp_path: Path, timers: dict[str, str] | None) -> list[Path]:
    """Units that name programs which exist here."""
    project = tmp_path / "project"
    for program in ("gunicorn", "python"):
        target = project / ".venv" / "bin" / program
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(sys.executable)
    paths = []
    for name, content in install.units(str(project), "root", timers).items():
        paths.append(tmp_path / name)
        paths[-1].write_text(content.replace("/etc/glyph-forge/environment", str(project)))
    return paths


@needs_systemd
@pytest.mark.parametrize("timers", [None, {job.name: job.cron for job in JOBS.values()}], ids=["worker", "timers"])
def test_units_are_valid(tmp_path: Path, timers: dict[str, str] | None) -> None:
    paths = written(tmp_path, timers)
    # An instance stands for its template.
    names = [str(path).replace("@.service", "@daily.service") for path in paths]
    for path, name in zip(paths, names, strict=True):
        if str(path) != name:
            shutil.copy(path, name)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "glyph-forge" in line and "postgresql" not in line]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", ["web.service", "worker.service", "job@.service"])
def test_a_unit_exposes_little(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    unit = str(ROOT / "deploy" / "systemd" / f"glyph-forge-{name}")
    shown = subprocess.run([*command, unit], capture_output=True, text=True, check=False).stdout
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert float(exposure) < 3, shown


def test_units_are_confined_alike() -> None:
    confined = [
        path.read_text().partition("NoNewPrivileges")[2].partition("[Install]")[0].strip()
        for path in (ROOT / "deploy" / "systemd").glob("*.service")
    ]
    assert len(confined) == 3
    assert len(set(confined)) == 1


@needs_systemd
@pytest.mark.parametrize("name", list(JOBS))
def test_timer_fires_when_the_job_is_due(name: str) -> None:
    cron = JOBS[name].cron
    start = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # the night in which Europe's clocks change
    command = ["systemd-analyze", "calendar", "--iterations=3", f"--base-time={start:%Y-%m-%d %H:%M:%S} UTC"]
    shown = subprocess.run([*command, install.calendar(cron)], capture_output=True, text=True, check=True).stdout
    fires = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", shown)
    expected, moment = [], start
    for _ in range(3):
        moment = slot_after(cron, moment)
        expected.append(f"{moment:%Y-%m-%d %H:%M:%S}")
    assert fires == expected


def test_a_job_s_own_limit_ends_it_before_service_or_queue_do() -> None:
    longest = max(job.timeout_seconds for job in JOBS.values())
    unit = (ROOT / "deploy" / "systemd" / "glyph-forge-job@.service").read_text()
    (minutes,) = re.findall(r"TimeoutStartSec=(\d+)min", unit)
    assert longest + GRACE_SECONDS < int(minutes) * 60
    assert longest + WORKER_GRACE_SECONDS < settings.Q_CLUSTER["retry"]


@pytest.mark.parametrize(
    ("cron", "calendar"),
    [
        ("0 2 * * *", "*-*-* 2:0:00 UTC"),
        ("*/15 * * * *", "*-*-* *:0/15:00 UTC"),
        ("0 3 * * 0", "Sun *-*-* 3:0:00 UTC"),
        ("30 6-8 1,15 * *", "*-*-1,15 6..8:30:00 UTC"),
        ("5 4 * * 1-3", "Mon,Tue,Wed *-*-* 4:5:00 UTC"),
        ("5 4 * * */2", "Sun,Tue,Thu,Sat *-*-* 4:5:00 UTC"),
        ("5 4 */2 */3 *", "*-1/3-1/2 4:5:00 UTC"),
    ],
)
def test_cron_becomes_a_calendar(cron: str, calendar: str) -> None:
    assert install.calendar(cron) == calendar


@pytest.mark.parametrize("cron", ["@daily", "0 2 1 * 5", "0 2 * *", "0 2 * * mon"])
def test_what_a_timer_cannot_say_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="systemd timer"):
        install.calendar(cron)


@pytest.mark.parametrize(("option", "value"), [("--project", "/srv/back office"), ("--to", "/nowhere/at/all")])
def test_a_folder_that_cannot_be_used_is_named(option: str, value: str, tmp_path: Path) -> None:
    given = {"--to": str(tmp_path), option: value}
    command = [sys.executable, "deploy/systemd/install.py", *(word for pair in given.items() for word in pair)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: {value}: " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_schedules_that_cannot_be_read_end_it_with_one_line(tmp_path: Path) -> None:
    environment = processes.environment(DATABASE_URL="postgresql://nobody:swordfish@127.0.0.1:9/none")
    command = [sys.executable, "deploy/systemd/install.py", "--timers", "--to", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "swordfish" in line) == (1, False)
    assert line.startswith("the schedules cannot be read: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/etc/x.service"), "/etc/x.service: Permission denied; run as root"),
        (ValueError("'@daily' cannot be written as a systemd timer"), "'@daily' cannot be written as a systemd timer"),
    ],
)
def test_what_cannot_be_written_ends_it_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(install, "units", refuse)
    monkeypatch.setattr(sys, "argv", ["install.py", "--to", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        install.main()
    assert str(end.value).startswith(line)
