"""The web process as deployed: Gunicorn with its configuration, static files, JSON log lines, an orderly end."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_SECONDS
from tests.support.web import Web, web_process

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with web_process(tmp_path) as running:
        yield running


def test_gunicorn_serves_pages_probes_and_static_files_and_logs_json(web: Web) -> None:
    assert web.get("/healthz")[0] == 200
    status, headers, page = web.get("/admin/login/", **{"X-Request-ID": "from-the-proxy"})
    assert status == 200
    assert headers["X-Request-ID"] == "from-the-proxy"
    asset = re.search(rb'href="(/static/[^"]+\.css)"', page)
    assert asset
    status, headers, _ = web.get(asset[1].decode(), **{"Accept-Encoding": "gzip"})
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert re.search(rb"\.[0-9a-f]{12}\.css$", asset[1])
    assert "immutable" in headers["Cache-Control"]

    # A request under way when the service manager says stop is answered.
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(timeout=PATIENCE_SECONDS) == 0

    # Read last: Gunicorn writes a request's line only after its answer has left.
    told = [str(line["message"]) for line in web.lines()]
    assert any("GET /admin/login/ 200" in line and "request from-the-proxy" in line for line in told)
