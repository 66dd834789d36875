"""The web process as deployed: Gunicorn with its configuration."""

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
        collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"]
        subprocess.run(collect, cwd=processes.ROOT, env=environment, check=True)
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
