"""The newest backups stay, and nothing goes that is not ours."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from glyphforge.database import backup, manifest, retention
from glyphforge.database.connection import DatabaseError
from glyphforge.database.manifest import Manifest
from glyphforge.errors import LeftOut
from tests.support.database import OPERATED

Make = Callable[..., Path]
CONTENT = b"PGDMP"


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.BACKUP_DIR = str(tmp_path)
    return tmp_path


@pytest.fixture
def make(operated: str, folder: Path) -> Make:
    """Writes what `backup.take` leaves behind for a backup of that day in 2020."""

    def made(
        day: int, *, content: str = "full", recorded: bool = True, name: str = "", database: str = OPERATED
    ) -> Path:
        path = folder / (name or f"glyphforge-202001{day:02}T023000Z.dump")
        path.write_bytes(CONTENT)
        Manifest(
            format=manifest.FORMAT, content=content, created_at=f"2020-01-{day:02}T02:30:00+00:00", database=database,
            server_version="18.6", bytes=len(CONTENT), sha256=manifest.sha256(path), migrations={}, roles=[],
            row_counts={}, without_rows=[],
        ).write(path)  # fmt: skip
        if recorded:
            with connections[operated].cursor() as cursor:
                cursor.execute(
                    "INSERT INTO backup_runs (kind, status, file, started_at)"
                    " VALUES ('backup', 'succeeded', %s, now())",
                    [str(path)],
                )
        return path

    return made


def dumps(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("glyphforge-202001")[:2] for path in folder.glob("*.dump"))


def old(path: Path) -> Path:
    """As if it had last been written two days ago."""
    os.utime(path, (time.time() - 2 * 86400,) * 2)
    return path


def test_the_newest_stay_and_the_others_go_with_their_manifests(operated: str, folder: Path, make: Make) -> None:
    paths = [make(day) for day in (3, 1, 5, 2, 4)]
    assert retention.prune(2, alias=operated) == [paths[0], paths[3], paths[1]]
    assert dumps(folder) == ["04", "05"]
    assert len(list(folder.iterdir())) == 4
    assert retention.prune(2, alias=operated) == []


def test_files_of_others_stay(operated: str, folder: Path, make: Make) -> None:
    """Another database's under our kind of name, one that somebody named, one of a part, and anything else."""
    others = [
        make(1, recorded=False),
        make(2, name="before-the-migration.dump"),
        make(3, content="schema"),
        folder / "notes.txt",
        folder / "glyphforge-20200104T023000Z.dump.gpg",
    ]
    for path in others[3:]:
        path.write_text("mine")
    make(5)
    newest = make(6)
    retention.prune(1, alias=operated)
    assert all(path.exists() for path in [*others, newest])
    assert not (folder / "glyphforge-20200105T023000Z.dump").exists()


def test_damaged_backups_take_no_good_one_s_place(operated: str, folder: Path, make: Make) -> None:
    make(1)
    make(2)
    os.truncate(make(3), 2)
    manifest.path_for(make(4)).write_text("{}")
    manifest.path_for(make(5)).unlink()
    retention.prune(1, alias=operated)
    assert dumps(folder) == ["02", "03", "04", "05"]


def test_what_a_killed_backup_left_goes_after_a_day(operated: str, folder: Path, make: Make) -> None:
    kept = make(1)
    partial = folder / ".glyphforge-20200102T023000Z.dump.4711.partial"
    orphan = folder / "glyphforge-20200102T023000Z.dump.json"
    foreign = folder / ".something.partial"
    for path in (partial, orphan, foreign):
        path.write_text("half")
    assert retention.prune(7, alias=operated) == []
    for path in (partial, orphan, foreign, kept):
        old(path)
    assert set(retention.prune(7, alias=operated)) == {partial, orphan}
    assert foreign.exists()
    assert kept.exists()


def test_a_prune_that_was_killed_between_file_and_manifest_is_finished(
    operated: str, folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(1)
    make(2)
    unlink = Path.unlink

    def killed_after_the_file(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_after_the_file)
        with pytest.raises(KeyboardInterrupt):
            retention.prune(1, alias=operated)
    assert retention.prune(1, alias=operated) == []
    old(manifest.path_for(first))
    assert retention.prune(1, alias=operated) == [manifest.path_for(first)]
    assert dumps(folder) == ["02"]


def test_backup_that_cannot_be_deleted_keeps_no_other(
    operated: str, folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = [make(day) for day in (1, 2, 3)][1]
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise OSError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        with pytest.raises(LeftOut, match=f"1 left out: {stuck}: Operation not permitted"):
            retention.prune(1, alias=operated)
    assert dumps(folder) == ["02", "03"]
    assert manifest.path_for(stuck).exists()


def test_newest_is_the_one_taken_last_whatever_its_name(operated: str, folder: Path, make: Make) -> None:
    make(1, name="zz-first.dump")
    last = make(3, name="before-the-migration.dump")
    make(2)
    make(4, content="schema")
    make(5, database="somebody_elses")
    assert backup.newest(operated) == last


def test_without_a_backup_of_this_database_there_is_no_newest(operated: str, folder: Path, make: Make) -> None:
    make(1, database="somebody_elses")
    with pytest.raises(DatabaseError, match=f"no full backup of {OPERATED} in "):
        backup.newest(operated)


def test_at_least_one_is_kept(operated: str, folder: Path, make: Make) -> None:
    make(1)
    with pytest.raises(ValueError, match="at least one backup is kept, not 0"):
        retention.prune(0, alias=operated)
    assert dumps(folder) == ["01"]
