"""The loads: deliveries at a fixed rate, and a backlog that the worker drains."""

import http.client
import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil

from demo.stripe.deliver import recorded_events, signature
from glyphforge.observability.terminal import progress

RATE = 50
SENDERS = 16
RECORDING = "many_customers"
# The last quarter of a backlog drains at least so fast, compared with the middle one.
STEADY = 0.7
POLL_SECONDS = 0.5
# Reading the memory costs more than counting.
POLLS_A_MEMORY = 4
# Longer than it takes to requeue what has no task.
STALLED_SECONDS = 240


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
    events = list(recorded_events([RECORDING]))
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
    """A backlog and how it went, in quarters: events a second, and the most memory that the worker held, in MB."""

    events: int
    seconds: float = 0.0
    rates: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    not_processed: int = 0

    @property
    def is_steady(self) -> bool:
        return bool(self.rates) and self.rates[-1] >= STEADY * statistics.median(self.rates)

    @property
    def growth_mb(self) -> float:
        """From the second quarter to the last: in the first the workers load their code."""
        return self.memory_mb[-1] - self.memory_mb[1] if self.memory_mb else 0.0


def drain(worker: psutil.Process, backlog: int) -> Drain:
    """Watch the worker process a backlog that is stored already, until all is done or nothing happens any more."""
    from billing.models import WebhookEvent

    waiting = WebhookEvent.objects.filter(status__in=("pending", "processing"))
    left, changed, quarter = backlog, time.perf_counter(), 1
    result, memory, polls = Drain(events=backlog), 0.0, 0
    # The clock starts with the first event: loading the code is no part of the rate.
    quarter_started: float | None = None
    with progress("Draining the backlog", backlog) as advance:
        while left and time.perf_counter() - changed < STALLED_SECONDS:
            time.sleep(POLL_SECONDS)
            polls += 1
            if polls % POLLS_A_MEMORY == 0:
                memory = max(memory, _memory(worker))
            before, left, now = left, waiting.count(), time.perf_counter()
            if left == before:
                continue
            advance(before - left)
            changed = now
            if quarter_started is None:
                started, quarter_started, base = now, now, left
            while quarter <= 4 and base - left >= base * quarter // 4:
                done = base * quarter // 4 - base * (quarter - 1) // 4
                result.rates.append(done / max(now - quarter_started, POLL_SECONDS))
                result.memory_mb.append(memory or _memory(worker))
                quarter_started, memory, quarter = now, 0.0, quarter + 1
    if quarter_started is not None:
        result.seconds = time.perf_counter() - started
    result.not_processed = backlog - WebhookEvent.objects.filter(status="processed").count()
    return result


def _memory(worker: psutil.Process) -> float:
    """What the worker's processes hold for themselves, in MB."""
    total = 0
    for process in (worker, *worker.children(recursive=True)):
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
