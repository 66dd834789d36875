"""The loads: deliveries at a fixed rate, and a backlog that the worker drains."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil

from billing.demo.deliver import recorded_events, signature

RATE = 50
SENDERS = 16
STORY = "many_customers"


@dataclass
class Latencies:
    """Milliseconds from the moment a delivery was due until it was answered; answers other than 200 apart."""

    milliseconds: list[float] = field(default_factory=list)
    refused: int = 0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def fresh_events() -> Iterator[dict[str, Any]]:
    """Recorded events for ever, each under an id of its own."""
    events = list(recorded_events([STORY]))
    for number in itertools.count():
        event = events[number % len(events)]
        yield event | {"id": f"evt_bench_{time.time_ns()}_{number}"}


def deliver(port: int, path: str, secret: str, seconds: float) -> Latencies:
    """Post RATE events a second, whether or not the earlier ones were answered."""
    result = Latencies()
    local = threading.local()

    def send(event: dict[str, Any], due: float) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps(event)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, secret)}
        local.connection.request("POST", path, body, headers)
        response = local.connection.getresponse()
        response.read()
        result.milliseconds.append((time.perf_counter() - due) * 1000)
        result.refused += response.status != 200

    events = fresh_events()
    started = time.perf_counter()
    with ThreadPoolExecutor(SENDERS) as pool:
        futures = []
        for number in range(int(RATE * seconds)):
            due = started + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            futures.append(pool.submit(send, next(events), due))
        for future in futures:
            future.result()
    return result


@dataclass
class Drain:
    """A backlog and how it went: events a second in the first and second half, and the workers' memory."""

    events: int
    seconds: float = 0.0
    first_half_rate: float = 0.0
    second_half_rate: float = 0.0
    memory_at_half_mb: float = 0.0
    memory_at_end_mb: float = 0.0


def drain(cluster: psutil.Process, backlog: int) -> Drain:
    """Watch the worker process a backlog that is stored already."""
    from billing.models import WebhookEvent

    waiting = WebhookEvent.objects.filter(status__in=("pending", "processing"))
    result = Drain(events=backlog)
    started = time.perf_counter()
    half = 0.0
    while (left := waiting.count()) > 0:
        elapsed = time.perf_counter() - started
        if not half and left <= backlog / 2:
            half, result.memory_at_half_mb = elapsed, _memory(cluster)
            result.first_half_rate = (backlog - left) / elapsed
            left_at_half = left
        time.sleep(0.5)
    result.seconds = time.perf_counter() - started
    if half:
        result.second_half_rate = left_at_half / max(result.seconds - half, 0.001)
    result.memory_at_end_mb = _memory(cluster)
    return result


def _memory(cluster: psutil.Process) -> float:
    """What the cluster's processes hold for themselves, in MB."""
    total = 0
    for process in (cluster, *cluster.children(recursive=True)):
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
