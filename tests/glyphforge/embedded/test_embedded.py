"""The embedded server: from nothing, after a crash, in a hurry, and refusing in one line."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from glyphforge.embedded import EmbeddedError, Server, binaries, postmaster, server
from glyphforge.embedded import cluster as cluster_module
from tests.support.waiting import PATIENCE_SECONDS

FAST = {"fsync": "off", "shared_buffers": "8MB"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it was."""
    cluster = server(tmp_path_factory.mktemp("embedded"), options=FAST)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def stopped_server(tmp_path: Path, template: Server) -> Iterator[Server]:
    """A server of the test's own: a copy of the template's cluster, not running."""
    template.stop()
    shutil.copytree(template.data, tmp_path / "data", copy_function=shutil.copy2)
    owner = template.data.stat()
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    cluster = server(tmp_path, options=FAST)
    yield cluster
    cluster.stop()


def pid_of(cluster: Server) -> int:
    pid = postmaster.running_pid(cluster.data)
    assert pid is not None
    return pid


@pytest.mark.smoke
def test_first_start_creates_the_database_and_the_next_one_finds_it_running(template: Server) -> None:
    template.start()
    assert template.start() is False
    with psycopg.connect(template.url()) as connection:
        assert connection.info.dbname == "glyphforge"
        row = connection.execute("SELECT lower('ÄÖ'), current_setting('listen_addresses')").fetchone()
    assert row == ("äö", "")


def test_data_stays_durable_unless_the_caller_says_otherwise(tmp_path: Path) -> None:
    assert "fsync" not in server(tmp_path).options


def test_socket_is_closed_to_other_accounts(template: Server) -> None:
    template.start()
    assert template.socket_folder.stat().st_mode & 0o077 == 0


def test_server_has_none_of_roots_privileges_whoever_starts_it(template: Server) -> None:
    template.start()
    status = Path(f"/proc/{pid_of(template)}/status").read_text()
    uid = int(next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:")))
    capabilities = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    assert uid != 0
    assert os.geteuid() in (0, uid)
    assert int(capabilities, 16) in (0, 4)  # nothing, or reading alone


def test_stray_libpq_variables_change_nothing(template: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    template.stop()
    monkeypatch.setenv("PGPORT", "7777")
    monkeypatch.setenv("PGDATA", "/nowhere")
    template.start()
    psycopg.connect(template.url()).close()


def test_killed_server_starts_again_with_its_committed_rows(stopped_server: Server) -> None:
    stopped_server.start()
    with psycopg.connect(stopped_server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(pid_of(stopped_server), signal.SIGKILL)
    assert stopped_server.start() is True
    with psycopg.connect(stopped_server.url()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_pid_file_of_a_foreign_process_does_not_stop_a_start(stopped_server: Server) -> None:
    (stopped_server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{stopped_server.data}\n")
    assert not stopped_server.is_running()
    assert stopped_server.start() is True


def test_interrupted_initdb_is_started_over(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18")
    cluster = server(tmp_path, options=FAST)
    try:
        assert cluster.start() is True
    finally:
        cluster.stop()


def test_two_starts_at_once_start_one_server(stopped_server: Server) -> None:
    with ThreadPoolExecutor(2) as both:
        started = [future.result() for future in [both.submit(stopped_server.start) for _ in range(2)]]
    assert sorted(started) == [False, True]


def test_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    cluster = server(tmp_path / ("deep" * 30))
    assert len(str(cluster.socket_folder)) < 90
    assert cluster.socket_folder != server(tmp_path / ("other" * 30)).socket_folder


def test_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    cluster = server(tmp_path / ("deep" * 30), options=FAST)
    cluster.socket_folder.symlink_to("/tmp")
    try:
        with pytest.raises(EmbeddedError, match="belongs to somebody else"):
            cluster.start()
    finally:
        cluster.socket_folder.unlink()


def test_unusable_setting_is_named(stopped_server: Server) -> None:
    stopped_server.options["max_connections"] = "many"
    with pytest.raises(EmbeddedError, match=r"max_connections.*many") as refused:
        stopped_server.start()
    assert "\n" not in str(refused.value)


def test_cluster_of_another_major_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 9"):
        server(tmp_path).start()


def test_machine_without_postgresql_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "installations", list)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        server(tmp_path).start()


def test_stop_of_a_stopped_server_does_nothing(tmp_path: Path) -> None:
    assert server(tmp_path / "never").stop() is False


def test_django_starts_the_server_at_its_first_connection(stopped_server: Server) -> None:
    """In a process of its own: this one's settings are taken."""
    program = f"""
import django
from django.conf import settings
settings.configure(DATABASES={{"default": {{
    "ENGINE": "glyphforge.embedded.backend",
    "NAME": "glyphforge",
    "EMBEDDED_ROOT": {str(stopped_server.root)!r},
}}}})
django.setup()
from django.db import connection
from glyphforge.embedded import cluster
cluster.LEAVING_SECONDS = {PATIENCE_SECONDS}
with connection.cursor() as cursor:
    cursor.execute("SELECT current_database()")
    print(cursor.fetchone()[0])
"""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout == "glyphforge\n", done.stderr
    assert not stopped_server.is_running(), "the last one out turns off the light"


def test_server_in_use_is_not_stopped_by_the_one_who_started_it(
    stopped_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_server.start()
    with psycopg.connect(stopped_server.url()):
        assert stopped_server.stop_if_unused() is False
    monkeypatch.setattr(cluster_module, "LEAVING_SECONDS", PATIENCE_SECONDS)
    assert stopped_server.stop_if_unused() is True
    assert stopped_server.stop_if_unused() is False


def test_commands_start_and_stop_it_by_hand(stopped_server: Server) -> None:
    def run(action: str) -> str:
        command = [sys.executable, "-m", "glyphforge.embedded", action, str(stopped_server.root)]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
        ).stdout.strip()

    assert [run("start"), run("url"), run("stop"), run("status")] == [
        "running",
        stopped_server.url(),
        "stopped",
        "stopped",
    ]


def test_stop_disconnects_clients(stopped_server: Server) -> None:
    stopped_server.start()
    connection = psycopg.connect(stopped_server.url())
    assert stopped_server.stop() is True
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
