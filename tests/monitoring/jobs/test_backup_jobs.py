"""Backups and drills by schedule: taken, kept, proved, and on the record whatever goes wrong."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from glyphforge.database import backup, manifest
from glyphforge.database.connection import environment
from monitoring.jobs import runner
from monitoring.models import HealthCheck, JobRun, SystemHealth
from tests.support import processes
from tests.support.database import session
from tests.support.waiting import wait_for

SLOT = datetime(2026, 5, 1, 2, 30, tzinfo=UTC)

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.BACKUP_DIR = str(tmp_path)
    settings.BACKUP_KEEP = 2
    return tmp_path


def check(name: str) -> str:
    return str(SystemHealth.objects.get(pk=name).status)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir() if not path.name.startswith("."))


def dumping() -> bool:
    """Whether pg_dump has a session."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
            [environment("default")["PGAPPNAME"]],
        )
        return bool(cursor.fetchone()[0])


def in_another_process(job: str, folder: Path) -> "subprocess.Popen[str]":
    """`run_job` as cron starts it."""
    return processes.start("manage.py", "run_job", job, "--trigger", "cron", BACKUP_DIR=str(folder))


@contextmanager
def table_kept_to_itself() -> Iterator[None]:
    """Somebody holds a table, so that pg_dump waits."""
    with session() as holder:
        holder.execute("LOCK TABLE users")
        yield


def test_a_backup_is_taken_proved_and_seen(folder: Path) -> None:
    taken = runner.run("backup", trigger="manual")
    assert taken.outcome == "succeeded", taken.message
    assert taken.run is not None
    made = manifest.check(Path(taken.run.detail["file"]))
    assert (made.content, taken.run.rows_affected) == ("full", sum(made.row_counts.values()))
    said, _ = in_another_process("drill", folder).communicate(timeout=300)
    drilled = JobRun.objects.get(job="drill")
    assert (drilled.status, drilled.trigger) == ("succeeded", "cron"), said
    assert (drilled.detail["file"], drilled.rows_affected) == (taken.run.detail["file"], taken.run.rows_affected)
    assert [check(name) for name in ("backup_age", "restore_drill_age", "failed_backups")] == ["ok"] * 3


def test_old_ones_go_after_a_good_one_and_never_after_a_bad_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (1, 2, 3):
        path, _ = backup.take(folder / f"glyphforge-202001{day:02}T023000Z.dump")
    broken = folder / "pg_dump"
    broken.write_text("#!/bin/sh\necho 'pg_dump: error: could not write: No space left on device' >&2; exit 1\n")
    broken.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(backup, "program", lambda name, alias: broken)
        failed = runner.run("backup", trigger="manual")
    assert (failed.outcome, failed.message) == ("failed", "backup: pg_dump: could not write: No space left on device")
    assert check("failed_backups") == "warning"
    assert len(list(folder.glob("glyphforge-*.dump"))) == 3
    broken.unlink()

    good = runner.run("backup", trigger="manual")
    assert good.run is not None
    assert good.run.detail["deleted"] == [f"glyphforge-202001{day:02}T023000Z.dump" for day in (2, 1)]
    assert {each.name for each in folder.glob("*.dump")} == {path.name, Path(good.run.detail["file"]).name}
    assert check("failed_backups") == "ok"


def test_without_a_folder_both_are_skipped_and_nobody_is_alarmed(capsys: pytest.CaptureFixture[str]) -> None:
    JobRun.objects.create(
        job="backup", status="failed", error="boom", scheduled_for=SLOT, finished_at=datetime.now(UTC)
    )
    assert check("failed_jobs") == "warning"
    for job in ("backup", "drill"):
        call_command("run_job", job)
        assert f"{job}: skipped: BACKUP_DIR is not set" in capsys.readouterr().out
        run = JobRun.objects.filter(job=job).latest("started_at")
        assert (run.status, run.detail["reason"][:10], run.error) == ("skipped", "BACKUP_DIR", None)
    assert [check(name) for name in ("failed_jobs", "failed_backups")] == ["ok", "ok"]
    assert [check(name) for name in ("backup_age", "restore_drill_age")] == ["unknown", "unknown"]
    HealthCheck.objects.filter(pk__in=("backup_age", "restore_drill_age")).update(is_enabled=False)
    assert not SystemHealth.objects.filter(pk__in=("backup_age", "restore_drill_age")).exists()


def test_a_folder_that_is_not_there_fails_and_is_not_made(folder: Path, settings: Any) -> None:
    settings.BACKUP_DIR = str(folder / "not-mounted")
    for job in ("backup", "drill"):
        result = runner.run(job, trigger="manual")
        assert result.message == f"{job}: BACKUP_DIR: {folder}/not-mounted is no folder on this machine"
    assert not (folder / "not-mounted").exists()
    assert check("failed_jobs") == "warning"


def test_a_drill_without_a_backup_fails(folder: Path) -> None:
    result = runner.run("drill", trigger="manual")
    assert (result.outcome, "no full backup of" in result.message) == ("failed", True)


def test_a_hanging_dump_is_stopped_at_the_job_s_limit(folder: Path) -> None:
    with table_kept_to_itself():
        result = runner.run("backup", trigger="manual", at_most=3)
        assert result.message == "backup: Stopped at the limit of 3 s."
        assert [file.name for file in folder.iterdir()] == ["erasures.json"]  # which is beside every backup
    wait_for(lambda: not dumping())
    assert check("failed_backups") == "warning"
    assert runner.run("backup", trigger="manual").outcome == "succeeded"


def test_a_backup_killed_half_way_leaves_no_file_that_counts(folder: Path) -> None:
    with table_kept_to_itself():
        process = in_another_process("backup", folder)
        wait_for(dumping)
        assert runner.run("backup", trigger="schedule", slot=SLOT).outcome == "busy"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    wait_for(lambda: not dumping())
    (partial,) = folder.glob("*.partial")
    # A minute later the lease has run out, and a day later the partial file belongs to nobody.
    JobRun.objects.filter(status="running").update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    os.utime(partial, (time.time() - 2 * 86400,) * 2)
    assert runner.run("backup", trigger="manual").outcome == "succeeded"
    assert files(folder) == [".dump", ".json", ".json"]  # with the list of who was erased
    assert "died or hung" in str(JobRun.objects.get(status="failed").error)
