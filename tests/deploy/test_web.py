"""The web process as deployed: Gunicorn with its configuration, static files, JSON log lines, an orderly end."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.waiting import PATIENCE_SECONDS, is_listening, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


class Web:
    def __init__(self, listener: socket.socket, logs: Path) -> None:
        self.origin, self.log = f"http://127.0.0.1:{listener.getsockname()[1]}", logs / "glyphforge.log"
        environment = processes.environment(
            DJANGO_ALLOWED_HOSTS="127.0.0.1",
            # Bound already, so that nobody else takes the port meanwhile.
            WEB_BIND=f"fd://{listener.fileno()}",
            WEB_PROCESSES="1",
            LOG_DIR=str(logs),
            LOG_LEVEL="INFO",
        )
        collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity=0"]
        subprocess.run(collect, cwd=processes.ROOT, env=environment, check=True)
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"]
        self.process = subprocess.Popen(
            gunicorn, cwd=processes.ROOT, env=environment, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()]
        )

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(self.origin + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        running = Web(listener, tmp_path)
    wait_for(lambda: is_listening(port))
    yield running
    running.process.terminate()
    running.process.wait(timeout=PATIENCE_SECONDS)


def test_gunicorn_serves_pages_probes_and_static_files_and_logs_json(web: Web) -> None:
    assert web.get("/healthz")[0] == 200
    status, headers, page = web.get("/admin/login/", **{"X-Request-ID": "from-the-proxy"})
    assert status == 200
    assert headers["X-Request-ID"] == "from-the-proxy"
    asset = re.search(rb'href="(/static/[^"]+\.css)"', page)
    assert asset
    status, headers, _ = web.get(asset[1].decode(), **{"Accept-Encoding": "gzip"})
    assert (status, headers["Content-Encoding"]) == (200, "gzip")

    # A request under way when the service manager says stop is answered.
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(timeout=PATIENCE_SECONDS) == 0

    # Read last: Gunicorn writes a request's line only after its answer has left.
    told = [str(line["message"]) for line in web.lines()]
    assert any("GET /admin/login/ 200" in line and "request from-the-proxy" in line for line in told)
