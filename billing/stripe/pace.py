"""How many requests a second this process sends to Stripe: work on a whole account leaves room for the events."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds between two requests, and when the next one may go.
_interval = 0.0
_next_at = 0.0


@contextmanager
def at_most(rate: float) -> Iterator[None]:
    """Send at most `rate` requests a second, as long as the block lasts."""
    global _interval, _next_at  # noqa: PLW0603 - the process has one pace
    _interval, _next_at = 1 / rate, 0.0
    try:
        yield
    finally:
        _interval = 0.0


def wait() -> None:
    """Return when the next request may go."""
    global _next_at  # noqa: PLW0603 - see above
    if _interval:
        time.sleep(max(0.0, _next_at - time.monotonic()))
        _next_at = time.monotonic() + _interval
