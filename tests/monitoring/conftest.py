"""Local servers that stand for Slack and the mail server, and can fail as those do."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.test import override_settings

from monitoring.alerts.observation import Observation
from tests.waiting import PATIENCE_SECONDS


@dataclass
class Slack:
    """What was posted, and what is answered next."""

    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    refuses: str = ""  # a message that holds this is answered with 400, as one that Slack cannot read


@pytest.fixture
def slack() -> Iterator[Slack]:
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
            """Where a redirect leads: a page that is no Slack."""
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Sign in to the network</html>")

        def log_message(self, *arguments: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with override_settings(SLACK_WEBHOOK_URL=state.url, BACKOFFICE_URL="https://billing.example.com"):
        yield state
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Mailbox:
    """What was delivered; `reply` is the server's answer to the next message."""

    messages: list[EmailMessage] = field(default_factory=list)
    reply: str = "250 OK"
    refuses: str = ""  # a message that holds this is answered with 554, as one that looks like spam

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        from email import message_from_bytes, policy

        if self.refuses and self.refuses.encode() in envelope.content:
            return "554 Looks like spam"
        if self.reply.startswith("250"):
            self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        return self.reply


class Listening(Controller):
    """Serves on a socket that listens already, so that nobody else takes the port meanwhile."""

    def __init__(self, box: Mailbox, listener: socket.socket) -> None:
        host, port = listener.getsockname()
        super().__init__(box, hostname=host, port=port, ready_timeout=PATIENCE_SECONDS)
        self._listener = listener

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    controller = Listening(box, listener)
    controller.start()
    with override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        EMAIL_USE_TLS=False,
        EMAIL_USE_SSL=False,
        EMAIL_HOST_USER="",
        EMAIL_HOST_PASSWORD="",
        ALERT_EMAIL="oncall@example.com",
    ):
        yield box
    controller.stop()


@pytest.fixture
def see() -> Callable[..., dict[str, Observation]]:
    """What the checks would see: severities by object."""

    def observations(**severities: str) -> dict[str, Observation]:
        return {
            f"failed_webhooks:{name}": Observation(
                fingerprint=f"failed_webhooks:{name}",
                severity=severity,
                alert_type="failed_webhooks",
                subject=f"invoice.paid {name}",
                message="Failed after 2 attempts: <no tier> claims the price",
                remediation="Map the price, then retry.",
                object_type="webhook_event",
                object_id=name,
            )
            for name, severity in severities.items()
        }

    return observations
