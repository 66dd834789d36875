"""The web process as deployed: Gunicorn with its configuration."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import processes
from tests.support.waiting import PATIENCE_SECONDS, is_listening, wait_for


class Web:
    """One running web process, whose log is a file."""

    def __init__(self, listener: socket.socket, logs: Path, **values: str) -> None:
        self.origin, self.log = f"http://127.0.0.1:{listener.getsockname()[1]}", logs / "glyphforge.log"
        environment = processes.environment(
            # Bound already, so that nobody else takes the port meanwhile.
            WEB_BIND=f"fd://{listener.fileno()}",
            WEB_PROCESSES="1",
            LOG_DIR=str(logs),
            LOG_LEVEL="INFO",
            **{"DJANGO_ALLOWED_HOSTS": "127.0.0.1", **values},
        )
        _collect(environment)
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"]
        self.process = subprocess.Popen(
            gunicorn,
            cwd=processes.ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )

    def kill(self) -> None:
        """End all its processes where they stand."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        request = urllib.request.Request(self.origin + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def lines(self) -> list[dict[str, object]]:
        """What was logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def _collect(environment: dict[str, str]) -> None:
    """Collect the static files, once a run of the suite: again would take them from under another worker's server."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with (processes.ROOT / "var" / "collected").open("a+") as collected:
        fcntl.flock(collected, fcntl.LOCK_EX)
        collected.seek(0)
        if collected.read() == run:
            return
        command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"]
        subprocess.run(command, cwd=processes.ROOT, env=environment, check=True)
        collected.truncate(0)
        collected.write(run)


@contextmanager
def web_process(logs: Path, **values: str) -> Iterator[Web]:
    """The web process for the length of the block; `values` are variables of its environment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        running = Web(listener, logs, **values)
    try:
        wait_for(lambda: is_listening(port))
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=PATIENCE_SECONDS)
