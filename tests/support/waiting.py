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


def wait_for_room(window_seconds: float, needed_seconds: float) -> None:
    """Until the present window, of those that follow each other since 1970 in UTC, lasts as long as is needed."""
    wait_for(lambda: time.time() % window_seconds < window_seconds - needed_seconds)


def is_listening(port: int) -> bool:
    """Whether something on this machine takes connections there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
