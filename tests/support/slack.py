"""A local server that stands for Slack, and can fail as that does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.test import override_settings


@dataclass
class Slack:
    """What was posted, and what is answered next."""

    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    refuses: str = ""  # a message that holds this is answered with 400, as one that Slack cannot read


@contextmanager
def serving() -> Iterator[Slack]:
    """The server at work, with the settings that lead to it."""
    state = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if state.refuses and state.refuses.encode() in body:
                self.send_response(400)
                self.end_headers()
                self.wfile.write(b"invalid_blocks")
                return
            if state.status == 200:
                state.posts.append(json.loads(body))
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok" if state.status == 200 else b"rate_limited")

        def do_GET(self) -> None:
            """Where a redirect leads: a page that is no Slack. Whoever asks is counted."""
            state.asked += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Sign in to the network</html>")

        def log_message(self, *arguments: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with override_settings(SLACK_WEBHOOK_URL=state.url, BACKOFFICE_URL="https://billing.example.com"):
        yield state
    server.shutdown()
    server.server_close()
    thread.join()


def assert_fits(payload: dict[str, Any]) -> None:
    """Slack takes the message: https://docs.slack.dev/reference/block-kit/blocks says how much of each it may have."""
    assert 0 < len(payload["text"]) <= 3000
    assert 0 < len(payload["blocks"]) <= 50
    for block in payload["blocks"]:
        for part in [block.get("text"), *block.get("elements", [])]:
            text = part["text"] if part and isinstance(part["text"], str) else ""
            assert len(text) <= (150 if block["type"] == "header" else 3000)
