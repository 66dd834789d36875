"""A local mail server that can fail as those do."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from django.test import override_settings

from tests.support.waiting import PATIENCE_SECONDS


@dataclass
class Mailbox:
    """What was delivered; `reply` is the server's answer to the next message."""

    messages: list[EmailMessage] = field(default_factory=list)
    reply: str = "250 OK"
    refuses: str = ""  # a message that holds this is answered with 554, as one that looks like spam

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
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


@contextmanager
def serving() -> Iterator[Mailbox]:
    """The server at work, with the settings that lead to it."""
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
