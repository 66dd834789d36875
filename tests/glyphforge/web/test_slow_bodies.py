"""A body that does not come ends its request; the thread is free for another."""

import socket
from typing import Any

from glyphforge.web.slow_bodies import SlowBodiesCut


def _asked(sender: socket.socket, environ: dict[str, Any], seconds: float) -> bytes:
    """What an application reads of a body of 100 bytes."""
    read: list[bytes] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = b""
        while len(body) < 100 and (more := sender.recv(100)):
            body += more
        read.append(body)
        return [b"ok"]

    assert SlowBodiesCut(application, seconds)(environ | {"gunicorn.socket": sender}, None) == [b"ok"]
    return read[0]


def test_body_that_does_not_come_is_cut_and_the_answer_still_goes_out() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.sendall(b"half of it")
        assert _asked(server, {"CONTENT_LENGTH": "100"}, seconds=0.01) == b"half of it"
        server.sendall(b"400")
        assert client.recv(3) == b"400"


def test_body_that_comes_is_read_whole() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.sendall(b"x" * 100)
        assert _asked(server, {"HTTP_TRANSFER_ENCODING": "chunked"}, seconds=600) == b"x" * 100
        client.sendall(b"next")
        assert server.recv(4) == b"next"  # the connection goes on


def test_request_without_a_body_costs_nothing() -> None:
    assert SlowBodiesCut(lambda environ, start: [b"ok"])({"gunicorn.socket": object()}, None) == [b"ok"]
