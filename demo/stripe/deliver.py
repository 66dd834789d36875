"""Post recorded events, signed as Stripe signs them, to a webhook endpoint.

`python -m demo.stripe.deliver --url http://127.0.0.1:8000/webhooks/stripe/ --secret whsec_…`
sends every event of every recording, oldest first, and says how many were accepted.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from demo.stripe import recordings
from glyphforge.rows import Json


def signature(body: str, secret: str, timestamp: int | None = None) -> str:
    """The `Stripe-Signature` header for `body`: scheme v1, HMAC-SHA256 over `t.body`.

    `timestamp` is in Unix seconds, by default now. The scheme: https://docs.stripe.com/webhooks#verify-manually
    """
    moment = int(time.time()) if timestamp is None else timestamp
    digest = hmac.new(secret.encode(), f"{moment}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class Sender:
    """Posts events to one endpoint, each over a connection of its own; `close` waits for the rest."""

    def __init__(self, url: str, secret: str, timeout: float = 10.0) -> None:
        self._url = urlsplit(url)
        self._secret = secret
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stripe-sender")

    def post(self, event: Json) -> int:
        """Send `event` and return the HTTP status; OSError when the endpoint cannot be reached in time."""
        body = json.dumps(event)
        secure = self._url.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(self._url.netloc, timeout=self._timeout)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, self._secret),
        }
        try:
            connection.request("POST", self._url.path or "/", body.encode(), headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def post_later(self, event: Json) -> None:
        """Send `event` in the background, in the order of the calls; report a failure on stderr."""
        self._pool.submit(self._post_and_report, event)

    def _post_and_report(self, event: Json) -> None:
        try:
            status = self.post(event)
        except OSError as error:
            sys.stderr.write(f"{event['id']}: not delivered: {error}\n")
            return
        if status != 200:
            sys.stderr.write(f"{event['id']}: answered {status}\n")

    def close(self) -> None:
        """Wait until everything given to `post_later` was tried."""
        self._pool.shutdown(wait=True)


def recorded_events(names: Iterable[str] | None = None) -> Iterator[Json]:
    """Each event of the named recordings (default: all) once, oldest first."""
    seen: dict[str, Json] = {}
    for name in names or recordings.names():
        for event in recordings.load(name).events:
            seen.setdefault(event["id"], event)
    yield from sorted(seen.values(), key=lambda event: int(event["created"]))


def deliver_all(
    url: str,
    secret: str,
    events: Iterable[Json] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[int, int]:
    """Post `events` (default: every recorded one) and return how often each HTTP status came back.

    `progress` is called with 1 after each event. A connection error is raised to the caller.
    """
    sender = Sender(url, secret)
    answers: dict[int, int] = {}
    try:
        for event in recorded_events() if events is None else events:
            status = sender.post(event)
            answers[status] = answers.get(status, 0) + 1
            if progress:
                progress(1)
    finally:
        sender.close()
    return answers


def main(argv: list[str] | None = None) -> int:
    """Command line: 0 when the endpoint accepted every event, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000/webhooks/stripe/")
    parser.add_argument("--secret", default=os.environ.get("STRIPE_WEBHOOK_SECRET", ""))
    options = parser.parse_args(argv)
    if not options.secret:
        parser.error("give --secret or set STRIPE_WEBHOOK_SECRET")
    try:
        answers = deliver_all(options.url, options.secret.split(",")[0])
    except OSError as error:
        sys.stderr.write(f"cannot reach {options.url}: {error}\n")
        return 1
    for status, count in sorted(answers.items()):
        sys.stdout.write(f"{count} events answered {status}\n")
    return 0 if set(answers) <= {200} else 1


if __name__ == "__main__":
    sys.exit(main())
