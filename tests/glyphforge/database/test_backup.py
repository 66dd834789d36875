"""Backups that can be trusted: whole, consistent, secret-free, and refused when they are not."""

import json
import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from django.db import connections, transaction

from glyphforge.database import backup, drill, manifest, restore
from glyphforge.database.connection import DatabaseError, environment, program
from glyphforge.embedded import binaries
from tests.support.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def dump(alias: str, django_db_blocker: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good backup that the tests of this file share and copy."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        return backup.take(tmp_path_factory.mktemp("backups") / "good.dump", alias=alias)[0]


@pytest.fixture
def copied(dump: Path, tmp_path: Path) -> Path:
    """A copy of the good backup, to be damaged."""
    copy = tmp_path / "copy.dump"
    copy.write_bytes(dump.read_bytes())
    manifest.path_for(copy).write_bytes(manifest.path_for(dump).read_bytes())
    return copy


def value(alias: str, query: str) -> object:
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A program that is started meanwhile is ended by the system when its file grows larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_manifest_counts_the_rows_of_the_same_moment(operated: str, dump: Path) -> None:
    made = manifest.check(dump)
    assert (made.content, made.row_counts["users"], made.row_counts["subscriptions"]) == ("full", 50, 50)
    assert made.migrations["billing"] > "0001"
    assert made.bytes == dump.stat().st_size


def test_backup_is_for_its_owner_only(dump: Path) -> None:
    assert dump.stat().st_mode & 0o077 == 0
    assert manifest.path_for(dump).stat().st_mode & 0o077 == 0


def test_outcome_is_recorded_for_the_health_check(operated: str, dump: Path) -> None:
    recorded = f"FROM backup_runs WHERE kind = 'backup' AND file = '{dump}'"
    assert value(operated, f"SELECT status {recorded}") == "succeeded"
    assert value(operated, f"SELECT bytes {recorded}") == dump.stat().st_size


def test_clock_that_is_ahead_of_the_databases_loses_no_record(
    operated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr(backup, "datetime", Ahead)
    path, _ = backup.take(tmp_path / "early.dump", alias=operated)
    assert value(operated, f"SELECT status FROM backup_runs WHERE file = '{path}'") == "succeeded"
    took = f"SELECT finished_at - started_at < interval '1 hour' FROM backup_runs WHERE file = '{path}'"
    assert value(operated, took) is True


def test_stripe_key_and_sessions_stay_out(operated: str, tmp_path: Path) -> None:
    secret = "sk_test_" + "Z" * 30
    with connections[operated].cursor() as cursor:
        cursor.execute(
            "INSERT INTO djstripe_apikey"
            " (id, djstripe_created, djstripe_updated, type, name, secret, livemode, stripe_data)"
            " VALUES ('x', now(), now(), 'secret', '', %s, false, '{}')",
            [secret],
        )
    try:
        path, made = backup.take(tmp_path / "secret.dump", alias=operated)
        text = tmp_path / "secret.sql"
        subprocess.run([program("pg_restore", operated), "-f", text, path], check=True)
    finally:
        with connections[operated].cursor() as cursor:
            cursor.execute("DELETE FROM djstripe_apikey")
    assert "djstripe_apikey" in text.read_text()
    assert secret not in text.read_text()
    assert made.row_counts["djstripe_apikey"] == 0


def test_password_is_in_no_argument(operated: str) -> None:
    connections[operated].settings_dict["PASSWORD"] = "hunter2"
    try:
        assert environment(operated)["PGPASSWORD"] == "hunter2"
    finally:
        connections[operated].settings_dict["PASSWORD"] = ""


def test_restored_database_has_the_same_rows(operated: str, dump: Path, empty: str) -> None:
    restore.restore(dump, into=empty, alias=operated)
    with restore.other_database(empty, operated) as target:
        assert value(target.alias, "SELECT count(*) FROM api_usage") == 50
        assert value(target.alias, "SELECT sum(total_requests) FROM monthly_usage_summary") == 50
        # Triggers and defaults are back: life goes on.
        assert value(target.alias, "INSERT INTO users (email) VALUES ('new@example.com') RETURNING status") == "active"
        assert value(target.alias, "SELECT count(*) FROM subscriptions") == 51


def test_database_that_holds_something_is_never_overwritten(operated: str, dump: Path) -> None:
    with pytest.raises(DatabaseError, match=r"holds \d+ tables already"):
        restore.restore(dump, alias=operated)
    assert value(operated, "SELECT count(*) FROM users") == 50


def test_truncated_file_is_named_as_such(operated: str, copied: Path, empty: str) -> None:
    os.truncate(copied, copied.stat().st_size // 2)
    with pytest.raises(DatabaseError, match=r"copy\.dump: truncated: [\d,]+ of [\d,]+ bytes"):
        restore.restore(copied, into=empty, alias=operated)


def test_flipped_byte_is_named_as_such(operated: str, copied: Path, empty: str) -> None:
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"copy\.dump: altered: its SHA-256"):
        restore.restore(copied, into=empty, alias=operated)


def test_missing_and_broken_manifests_are_named(operated: str, copied: Path, empty: str) -> None:
    manifest.path_for(copied).write_text("{}")
    with pytest.raises(DatabaseError, match="not a manifest"):
        restore.restore(copied, into=empty, alias=operated)
    manifest.path_for(copied).unlink()
    with pytest.raises(DatabaseError, match="is missing"):
        restore.restore(copied, into=empty, alias=operated)
    with pytest.raises(DatabaseError, match="no such file"):
        restore.restore(copied.with_name("absent.dump"), into=empty, alias=operated)


def test_counts_that_differ_from_the_manifest_are_listed(operated: str, copied: Path, empty: str) -> None:
    path = manifest.path_for(copied)
    values = json.loads(path.read_text())
    values["row_counts"]["users"] = 51
    path.write_text(json.dumps(values))
    with pytest.raises(DatabaseError, match="users has 50 of 51"):
        restore.restore(copied, into=empty, alias=operated)


def test_failed_restore_leaves_the_database_empty(operated: str, dump: Path, empty: str) -> None:
    restore.create_database(empty, operated)
    with restore.other_database(empty, operated) as target:
        with target.cursor() as cursor:
            cursor.execute("CREATE FUNCTION set_updated_at() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        with pytest.raises(DatabaseError, match="set_updated_at"):
            restore.restore(dump, into=empty, alias=operated)
        assert value(target.alias, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_existing_file_is_not_overwritten(operated: str, copied: Path) -> None:
    before = copied.read_bytes()
    with pytest.raises(DatabaseError, match="exists already"):
        backup.take(copied, alias=operated)
    assert copied.read_bytes() == before


def assert_nothing_is_left_but_a_failed_run(alias: str, target: Path) -> None:
    assert list(target.parent.glob(".*")) == []
    assert not target.exists()
    assert not manifest.path_for(target).exists()
    assert value(alias, f"SELECT status FROM backup_runs WHERE file = '{target}'") == "failed"


def test_full_disk_is_said_and_leaves_nothing_behind(
    operated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = "could not write to file: No space left on device"
    fake = tmp_path / "bin" / "pg_dump"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\n"
        'for word; do case "$word" in --file=*) echo half > "${word#--file=}";; esac; done\n'
        f'echo "pg_dump: error: {problem}" >&2; exit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(backup, "program", lambda name, alias: fake)
    with pytest.raises(DatabaseError, match=problem):
        backup.take(tmp_path / "full.dump", alias=operated)
    assert_nothing_is_left_but_a_failed_run(operated, tmp_path / "full.dump")


def test_killed_dump_is_said_and_leaves_nothing_behind(operated: str, tmp_path: Path) -> None:
    with largest_file(20_000), pytest.raises(DatabaseError, match="pg_dump: ended by SIGXFSZ"):
        backup.take(tmp_path / "killed.dump", alias=operated)
    assert_nothing_is_left_but_a_failed_run(operated, tmp_path / "killed.dump")


def test_stopped_backup_is_recorded_and_leaves_nothing_behind(
    operated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(name: str, *arguments: str, **options: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        backup.take(tmp_path / "stopped.dump", alias=operated)
    assert_nothing_is_left_but_a_failed_run(operated, tmp_path / "stopped.dump")
    error = value(operated, f"SELECT error FROM backup_runs WHERE file = '{tmp_path / 'stopped.dump'}'")
    assert error == "stopped before it was done"


def test_second_backup_at_once_is_refused_and_the_first_is_whole(
    operated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the same name, as two that start in one second choose."""
    target = tmp_path / "same.dump"
    dumping, go_on = threading.Event(), threading.Event()
    really_run = backup.run

    def slow(name: str, *arguments: str, **options: str) -> None:
        dumping.set()
        assert go_on.wait(PATIENCE_SECONDS)
        really_run(name, *arguments, **options)

    def first() -> None:
        try:
            backup.take(target, alias=operated)
        finally:
            connections[operated].close()

    monkeypatch.setattr(backup, "run", slow)
    thread = threading.Thread(target=first)
    thread.start()
    assert dumping.wait(PATIENCE_SECONDS)
    with pytest.raises(DatabaseError, match="another backup of this database is being taken"):
        backup.take(target, alias=operated)
    go_on.set()
    thread.join()
    assert manifest.check(target).content == "full"


def test_table_that_somebody_keeps_to_himself_fails_the_dump_and_does_not_hang_it(
    operated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "LOCK_WAIT_MS", 200)
    name = str(connections[operated].settings_dict["NAME"])
    with (
        restore.other_database(name, operated) as other,
        transaction.atomic(using=other.alias),
        other.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE users")
        with pytest.raises(DatabaseError, match="canceling statement due to statement timeout"):
            backup.take(tmp_path / "locked.dump", alias=operated)
    assert_nothing_is_left_but_a_failed_run(operated, tmp_path / "locked.dump")


@pytest.fixture
def only_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a machine that has pg_dump of the given version and nothing else of PostgreSQL."""
    monkeypatch.setattr(binaries, "wheel_bindir", lambda: None)
    monkeypatch.setattr(binaries, "SYSTEM_PATTERNS", ())
    monkeypatch.setenv("PATH", str(tmp_path))

    def client(version: str) -> Path:
        path = tmp_path / "pg_dump"
        path.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        path.chmod(0o755)
        return path

    return client


def test_client_without_a_server_is_found(operated: str, only_client: Callable[[str], Path]) -> None:
    """As in an image that has the package of the client only."""
    client = only_client("99.1")
    assert program("pg_dump", operated) == client
    with pytest.raises(DatabaseError, match="no pg_restore of PostgreSQL"):
        program("pg_restore", operated)


def test_client_that_is_older_than_the_server_is_refused(operated: str, only_client: Callable[[str], Path]) -> None:
    only_client("14.20")
    with pytest.raises(DatabaseError, match=r"no pg_dump of PostgreSQL \d+ or newer on this machine"):
        program("pg_dump", operated)


def test_dump_that_cannot_be_read_back_is_no_backup(
    operated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump_only = backup.run

    def damaging(name: str, *arguments: str, **options: str) -> None:
        dump_only(name, *arguments, **options)
        if name == "pg_dump":
            (partial,) = tmp_path.glob(".*.partial")
            os.truncate(partial, partial.stat().st_size - 500)

    monkeypatch.setattr(backup, "run", damaging)
    with pytest.raises(DatabaseError, match="pg_restore"):
        backup.take(tmp_path / "short.dump", alias=operated)
    assert [file.name for file in tmp_path.iterdir()] == ["erasures.json"]  # which is beside every backup


def test_folder_that_cannot_be_made_is_one_line(operated: str, copied: Path) -> None:
    with pytest.raises(DatabaseError, match=r"Not a directory|File exists"):
        backup.take(copied / "below" / "a.dump", alias=operated)


def test_schema_can_be_taken_alone(operated: str, tmp_path: Path, empty: str) -> None:
    path, made = backup.take(tmp_path / "part.dump", content="schema", alias=operated)
    assert made.content == "schema"
    restore.restore(path, into=empty, alias=operated)
    with restore.other_database(empty, operated) as target:
        assert value(target.alias, "SELECT count(*) FROM users") == 0


def test_damaged_manifest_hides_no_other_backup(
    operated: str, dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "folder", lambda: dump.parent)
    damaged = dump.parent / "damaged.dump"
    damaged.touch()
    manifest.path_for(damaged).write_text("{")
    assert backup.newest(operated) == dump


def test_drill_proves_the_backup_and_leaves_nothing_behind(operated: str, dump: Path) -> None:
    prefix = drill.scratch_prefix(operated)
    others = f"{prefix.removesuffix('_')}0_0"  # of a database whose number begins like this one's
    with connections[operated].cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {prefix}0")  # left by a drill that was killed
        cursor.execute(f"CREATE DATABASE {others}")
    done = drill.drill(dump, alias=operated)
    assert done.row_count == sum(manifest.check(dump).row_counts.values())
    left = f"SELECT count(*) FROM pg_database WHERE starts_with(datname, '{prefix}')"
    assert value(operated, left) == 0
    with connections[operated].cursor() as cursor:
        cursor.execute(f"DROP DATABASE {others}")  # it is still there
    outcome = f"SELECT status FROM backup_runs WHERE kind = 'drill' AND file = '{dump}'"
    assert value(operated, outcome) == "succeeded"


def test_drill_of_a_damaged_backup_is_recorded_as_failed(operated: str, copied: Path) -> None:
    os.truncate(copied, 1000)
    with pytest.raises(DatabaseError, match="truncated"):
        drill.drill(copied, alias=operated)
    assert "truncated" in str(value(operated, f"SELECT error FROM backup_runs WHERE file = '{copied}'"))
