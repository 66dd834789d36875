"""Waiting for what other processes and threads do: until it is done, however busy the machine is."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
PATIENCE_SECONDS = 180


def wait_for(what: Callable[[], Found]) -> Found:
    """The first result of `what` that is true; AssertionError if none comes within PATIENCE_SECONDS."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def is_listening(port: int) -> bool:
    """Whether something on this machine takes connections there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
