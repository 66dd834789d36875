"""A local server that answers Stripe's API from the recorded histories.

`python -m demo.stripe.server --port 12111` serves all recordings until it is stopped; with `--synthetic`
also the synthetic customers of the database that the settings name.
With `--webhook-url` each write (cancel, refund, …) also posts its events there, as Stripe would, signed with
STRIPE_WEBHOOK_SECRET from the environment: an argument would show in the list of processes. In tests use
`StripeServer` as a context manager.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from django.db import connection

from demo.stripe import recordings, synthetic
from demo.stripe.deliver import Sender
from demo.stripe.refusals import RefusalError
from demo.stripe.world import StripeWorld
from glyphforge.rows import Json

# For staff to try.
COUPON: Json = {
    "id": "STAY20",
    "object": "coupon",
    "created": 1,
    "currency": None,
    "duration": "forever",
    "name": "A fifth off",
    "percent_off": 20,
    "valid": True,
}

# What a test may answer instead of the world: status, JSON body, extra headers; None: no opinion.
Interception = tuple[int, Json, dict[str, str]] | None


class StripeServer:
    """Serves a `StripeWorld` on a loopback port in a background thread.

    `requests` collects `"METHOD /path"` of every call, `asked` with which parameters. `intercept(method, path)` may
    answer in place of the world, which is how tests make Stripe slow, busy or broken; `loses(method, path)` says
    whether the `request` or the `answer` gets lost on its way.
    """

    def __init__(self, world: StripeWorld, port: int = 0, host: str = "127.0.0.1") -> None:
        self.world = world
        self.requests: list[str] = []
        self.asked: list[tuple[str, Json]] = []
        self.intercept: Callable[[str, str], Interception] | None = None
        self.loses: Callable[[str, str], Literal["request", "answer"] | None] | None = None
        handler = type("BoundHandler", (StripeHandler,), {"stripe": self})
        self._server = _Server((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The base URL for `STRIPE_API_HOST`."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> StripeServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start to serve in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and release the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away before its answer is no error of this server."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class StripeHandler(BaseHTTPRequestHandler):
    """Maps HTTP onto `StripeWorld`; bound to one server by `StripeServer`."""

    stripe: StripeServer
    protocol_version = "HTTP/1.1"
    # Stripe answers in one segment; without this each small answer waits for a delayed ACK.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a read: the account, one object or one page of a collection."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer a change, a refund, or the preview of an invoice."""
        self._answer("POST")

    def do_DELETE(self) -> None:
        """Answer the deletion of a customer or the end, now, of a subscription."""
        self._answer("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: the caller's own log says what was asked."""

    def _answer(self, method: str) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.stripe.requests.append(f"{method} {url.path}")
        lost = self.stripe.loses(method, url.path) if self.stripe.loses else None
        if lost == "request":
            self.close_connection = True
            return
        intercepted = self.stripe.intercept(method, url.path) if self.stripe.intercept else None
        if intercepted:
            self._send(*intercepted)
            return
        params = parse_form(url.query) | parse_form(body)
        self.stripe.asked.append((f"{method} {url.path}", params))
        try:
            self._authorize()
            status, answer = 200, self._route(method, url.path, params)
        except RefusalError as refusal:
            status, answer = refusal.status, refusal.body
        if lost:
            self.close_connection = True
            return
        self._send(status, answer, {})

    def _authorize(self) -> None:
        if not self.headers.get("Authorization", "").startswith(("Bearer sk_", "Bearer rk_")):
            raise RefusalError(401, "You did not provide an API key.", param="")

    def _route(self, method: str, path: str, params: Json) -> Json:
        world = self.stripe.world
        parts = path.strip("/").replace("checkout/sessions", "checkout.sessions").split("/")[1:]
        if method == "GET":
            return self._read(parts, params)
        change = self._change(method, parts, params)
        if change is None:
            raise RefusalError(404, f"Unrecognized request URL ({method}: {path}).")
        # Keys mean nothing to a DELETE: https://docs.stripe.com/api/idempotent_requests
        key = self.headers.get("Idempotency-Key") if method == "POST" else None
        return world.write(key, {"path": path, "params": params}, change)

    def _read(self, parts: list[str], params: Json) -> Json:
        world = self.stripe.world
        match parts:
            case ["account"]:
                answer = world.account()
            case ["balance"]:
                answer = {"object": "balance", "livemode": False, "available": [], "pending": []}
            case ["products", product_id, "features"]:
                world.retrieve("products", product_id)
                answer = _list(f"/v1/products/{product_id}/features", [])
            case ["invoices", invoice_id, "lines"]:
                lines = world.retrieve("invoices", invoice_id)["lines"]["data"]
                answer = _list(f"/v1/invoices/{invoice_id}/lines", lines)
            case ["customers", customer_id, "balance_transactions"]:
                answer = world.page("customer_balance_transactions", params | {"customer": customer_id})
            case [collection, object_id]:
                answer = world.retrieve(collection, object_id, params.get("expand", []))
            case [collection]:
                answer = world.page(collection, params)
            case _:
                raise RefusalError(404, f"Unrecognized request URL (GET: /v1/{'/'.join(parts)}).")
        return answer

    def _change(self, method: str, parts: list[str], params: Json) -> Callable[[], Json] | None:
        world = self.stripe.world
        change: Callable[[], Json] | None = None
        match method, parts:
            case "POST", ["customers", customer_id]:
                change = partial(world.update_customer, customer_id, params)
            case "POST", ["customers", customer_id, "balance_transactions"]:
                change = partial(world.credit, customer_id, params)
            case "DELETE", ["customers", customer_id]:
                change = partial(world.delete_customer, customer_id)
            case "POST", ["invoices", "create_preview"]:
                change = partial(world.preview, params)
            case "POST", ["invoices", invoice_id, ("pay" | "void" | "mark_uncollectible") as how]:
                change = partial(world.settle_invoice, invoice_id, how, params)
            case "POST", ["refunds"]:
                change = partial(world.refund, params)
            case "POST", ["subscriptions", subscription_id]:
                change = partial(world.update_subscription, subscription_id, params)
            case "DELETE", ["subscriptions", subscription_id]:
                change = partial(world.cancel_subscription, subscription_id)
            case "POST", ["subscription_schedules"]:
                change = partial(world.schedule, params)
            case "POST", ["subscription_schedules", schedule_id]:
                change = partial(world.update_schedule, schedule_id, params)
            case "POST", ["subscription_schedules", schedule_id, "release"]:
                change = partial(world.release_schedule, schedule_id)
        return change

    def _send(self, status: int, body: Json, headers: dict[str, str]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("Request-Id", "req_local")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)


def parse_form(text: str) -> Json:
    """Decode Stripe's form encoding: `expand[0]=a&created[gte]=1` to lists and dicts, nested however deep.

    All values are text; numbered keys are a list in the order in which they came.
    """
    result: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        path = re.findall(r"[^\[\]]+", name) or [name]
        holder = result
        for key in path[:-1]:
            holder = holder.setdefault(key, {})
        if name.endswith("[]"):
            holder = holder.setdefault(path[-1], {})
            path = [str(len(holder))]
        holder[path[-1]] = value
    return {name: _listed(value) for name, value in result.items()}


def _listed(value: Any) -> Any:
    """A dict whose keys are all numbers as the list that it stands for."""
    if not isinstance(value, dict):
        return value
    members = {name: _listed(member) for name, member in value.items()}
    return list(members.values()) if members and all(name.isdigit() for name in members) else members


def _list(url: str, data: list[Json]) -> Json:
    return {"object": "list", "url": url, "has_more": False, "data": data}


def endpoint(url: str, **values: Any) -> Json:
    """An endpoint that is sent all events; `values` are other members of https://docs.stripe.com/api/webhook_endpoints"""
    members = {"id": "we_1", "object": "webhook_endpoint", "url": url, "created": 1, "enabled_events": ["*"]}
    return members | {"status": "enabled", "livemode": False} | values


def main(argv: list[str] | None = None) -> int:
    """Serve all recordings until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--synthetic", action="store_true", help="know the synthetic customers of the database too")
    parser.add_argument("--webhook-url", help="post the events of writes to this endpoint")
    options = parser.parse_args(argv)
    world = StripeWorld(recordings.load_all())
    world.put(COUPON)
    if options.synthetic:
        synthetic.add_to(world)
        connection.close()
    try:
        server = StripeServer(world, port=options.port, host=options.host)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error}\n")
        return 1
    sender = None
    if options.webhook_url:
        secret = os.environ.get("STRIPE_WEBHOOK_SECRET", "").split(",")[0].strip()
        sender = Sender(options.webhook_url, secret)
        world.on_event = sender.post_later
        world.put(endpoint(options.webhook_url))
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with server:
        sys.stdout.write(f"Stripe answers from {len(recordings.names())} recordings at {server.url}\n")
        sys.stdout.flush()
        stopped.wait()
    if sender:
        sender.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
