"""`make run`'s supervisor: what it decides, what it keeps up, and that nothing outlives it."""

import http.client
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections
from psycopg import errors

from demo.run import configuration, supervisor
from demo.run.configuration import UnusableError, prepare, require_free_port
from demo.run.processes import Process, stop_all
from monitoring.doctor.finding import critical, ok, warning
from monitoring.worker.heartbeat import QueueState
from tests.support import database, processes
from tests.support.waiting import PATIENCE_SECONDS, free_port, wait_for


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without anything that matters here, restored after the test."""
    saved = dict(os.environ)
    for name in (
        "DATABASE_URL",
        "DJANGO_DEBUG",
        "PORT",
        "STRIPE_TEST_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "BACKUP_DIR",
        "BACKOFFICE_URL",
    ):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(configuration, "ROOT", tmp_path)
    monkeypatch.setattr(configuration, "VAR", tmp_path)
    yield monkeypatch
    os.environ.clear()
    os.environ.update(saved)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestConfiguration:
    def test_from_nothing_it_is_a_demo_with_a_stripe_of_its_own(self, environment: pytest.MonkeyPatch) -> None:
        prepared = prepare()
        assert (prepared.demo, prepared.embedded, prepared.port) == (True, True, 8000)
        assert os.environ["STRIPE_API_HOST"] == f"http://127.0.0.1:{prepared.own_stripe_port}"
        assert prepared.webhook_secret.startswith("whsec_")
        assert Path(os.environ["BACKUP_DIR"]).is_dir()
        assert os.environ["BACKOFFICE_URL"] == prepared.url
        assert prepare().webhook_secret == prepared.webhook_secret

    def test_a_stripe_account_of_ones_own_is_used(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("STRIPE_TEST_SECRET_KEY", "sk_test_" + "a" * 24)
        assert prepare().own_stripe_port is None

    @pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "80 80"])
    def test_a_port_that_is_none_is_named(self, environment: pytest.MonkeyPatch, value: str) -> None:
        environment.setenv("PORT", value)
        with pytest.raises(UnusableError, match=f"PORT: '{value}'"):
            prepare()

    def test_a_broken_env_file_is_one_line(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("DJANGO DEBUG\n")
        with pytest.raises(SystemExit, match="line 1"):
            prepare()

    def test_a_busy_port_is_one_line_with_advice(self, environment: pytest.MonkeyPatch) -> None:
        environment.setattr(configuration, "PORT_PATIENCE_SECONDS", 0)
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            with pytest.raises(UnusableError, match=r"in use; .*PORT=") as refused:
                require_free_port(busy.getsockname()[1])
        assert "\n" not in str(refused.value)

    def test_a_database_elsewhere_gets_no_demo_data(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("DATABASE_URL", "postgresql://app@db.example.com/glyphforge")
        assert prepare().demo is False

    def test_a_local_database_that_cannot_be_reached_is_one_line(self, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("DATABASE_URL", "postgresql://app@127.0.0.1:1/glyphforge")
        with pytest.raises(UnusableError, match="DATABASE_URL: connection") as refused:
            prepare()
        assert "\n" not in str(refused.value)


def test_a_full_disk_is_one_line(environment: pytest.MonkeyPatch) -> None:
    said = "could not extend file: No space left on device\nHINT:  Check free disk space.\nCONTEXT:  SQL statement\n..."
    with (
        pytest.raises(UnusableError) as refused,
        supervisor._database_errors_in_one_line(prepare()),
    ):
        raise OperationalError(said)
    assert str(refused.value) == (
        "PostgreSQL: could not extend file: No space left on device HINT: Check free disk space."
    )


def test_a_database_of_an_earlier_release_is_one_line_that_says_what_to_do(environment: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(UnusableError, match="delete the folder var"),
        supervisor._database_errors_in_one_line(prepare()),
    ):
        raise ProgrammingError('relation "users" already exists') from errors.DuplicateTable()


class TestProcesses:
    def test_a_killed_process_is_started_again_without_its_leftovers(self, tmp_path: Path) -> None:
        leaves_a_child = "sleep 300 & echo $! > child; wait"
        process = Process("sleeper", ["sh", "-c", f"cd {tmp_path}; {leaves_a_child}"], tmp_path / "log")
        process.start()
        try:
            wait_for((tmp_path / "child").exists)
            wait_for((tmp_path / "child").read_text)
            child = int((tmp_path / "child").read_text())
            os.kill(process.pid, signal.SIGKILL)
            wait_for(process.has_ended)
            process.restart_if_ended()
            assert not process.has_ended()
            wait_for(lambda: not running(child))
        finally:
            stop_all([process])
        assert process.has_ended()

    def test_a_process_that_keeps_dying_is_given_up_with_its_last_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("demo.run.processes.RESTART_SECONDS", 0)
        process = Process("failing", ["sh", "-c", "echo no such thing; exit 3"], tmp_path / "log")
        process.start()

        def keep_it_up() -> None:
            for _ in range(50):
                wait_for(process.has_ended)
                process.restart_if_ended()

        with pytest.raises(RuntimeError, match="no such thing"):
            keep_it_up()

    def test_one_that_ignores_the_request_is_ended_by_force(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("demo.run.processes.STOP_SECONDS", 0.2)
        ignores = f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done"
        process = Process("stubborn", ["sh", "-c", ignores], tmp_path / "log")
        process.start()
        wait_for((tmp_path / "ready").exists)
        stop_all([process])
        assert process.has_ended()


@pytest.fixture
def fresh_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The URL of a migrated, empty database of its own."""
    name = f"{connections['default'].settings_dict['NAME']}_run"
    with django_db_blocker.unblock(), database.copy(name):
        yield database.url(name)


@pytest.mark.slow
def test_everything_it_started_ends_with_it(fresh_database: str) -> None:
    port = free_port()
    variables = {"DATABASE_URL": fresh_database, "PORT": str(port), "DJANGO_DEBUG": "false"}
    with processes.start("-m", "demo.run", **variables) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        assert any(f"http://127.0.0.1:{port}/admin/" in line for line in said), said
        assert any("No demo data" in line for line in said), "DEBUG is off"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/admin/login/")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(PATIENCE_SECONDS) == 0
    assert "Stopped." in rest
    assert [child for child in children if running(int(child))] == []
    with socket.socket() as probe:
        # What is closed lingers in the kernel; who listens is in the way nevertheless.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_the_end_says_what_the_doctor_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    checks = {
        "web": lambda: [critical("no answer", "start it")],
        "roles": lambda: [ok("fine"), warning("a superuser", "init --roles")],
        "health": lambda: [critical("planted by the demo", "nothing")],
    }
    monkeypatch.setattr("monitoring.doctor.registry.checks", lambda send: checks)
    monkeypatch.setattr("monitoring.worker.heartbeat.queue_state", lambda: QueueState(True, 0, 0, 0))
    monkeypatch.setattr(supervisor, "LOGS", tmp_path)
    supervisor._examine()
    assert [line for line in capsys.readouterr().out.splitlines() if line] == [
        "  web: no answer; to mend it: start it",
        f"  Examined by the doctor: 1 ok, 1 warning, 2 critical; {tmp_path}/doctor.log has each line",
    ]
    assert (tmp_path / "doctor.log").read_text().splitlines()[:2] == [
        "critical  web: no answer",
        "          to mend it: start it",
    ]
