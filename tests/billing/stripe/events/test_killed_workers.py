"""Real worker processes, several at once, killed with SIGKILL in the middle of their work."""

import multiprocessing
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from billing.models import Payment, WebhookEvent
from billing.stripe import gateway
from billing.stripe.events import inbox, processing
from demo.stripe import recordings
from demo.stripe.world import StripeWorld
from glyphforge.audit.models import AuditEntry
from tests.support.expected import assert_reached
from tests.support.waiting import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
STREAMS = ("cancel_then_resubscribe", "dispute", "refund_partial", "upgrade_prorated", "customer_deleted")
WORKERS = 3
FORK = multiprocessing.get_context("fork")


def work(seed: int) -> None:
    """What a queue worker does, without the queue: claims and processes whatever is to be had, in its own order."""
    connections.close_all()
    gateway.configure()  # a session of its own, not the parent's socket
    order = random.Random(seed)
    while waiting := list(WebhookEvent.objects.filter(status="pending").values_list("stripe_event_id", flat=True)):
        order.shuffle(waiting)
        for event_id in waiting:
            processing.process(event_id)


def start(seed: int) -> Any:
    worker = FORK.Process(target=work, args=(seed,), daemon=True)
    connection.close()
    worker.start()
    return worker


def is_at_work() -> bool:
    """Whether some worker has an event in its hands."""
    return WebhookEvent.objects.filter(status="processing").exists()


def let_time_pass() -> None:
    """Leases run out and retries fall due."""
    connection.close()
    long_ago = timezone.now() - timedelta(minutes=16)
    WebhookEvent.objects.filter(status="processing").update(processing_started_at=long_ago)
    WebhookEvent.objects.filter(status__in=("processing", "failed")).update(status="pending")


@pytest.mark.slow
def test_killed_workers_lose_and_double_nothing(world: StripeWorld, feed: Callable) -> None:
    streams = [recordings.load(name) for name in STREAMS]
    for stream in streams:
        world.add(stream)
        for event in stream.events:
            inbox.store(event)
    kills = 0
    for round_ in range(6):
        workers = [start(seed=10 * round_ + number) for number in range(WORKERS)]
        for worker in workers:
            wait_for(lambda worker=worker: is_at_work() or not worker.is_alive())  # type: ignore[misc]
            time.sleep(0.15)
            kills += worker.is_alive()
            worker.kill()
        for worker in workers:
            worker.join()
        let_time_pass()
    assert kills >= WORKERS
    last = [start(seed=1000 + number) for number in range(WORKERS)]
    for worker in last:
        worker.join(timeout=PATIENCE_SECONDS)
    let_time_pass()
    work(seed=0)

    assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"processed"}
    assert WebhookEvent.objects.filter(attempts__gt=1).exists(), "no kill hit an event in the middle"
    for stream in streams:
        assert_reached(stream.expected)
    charged = sum(row["amount_cents"] for stream in streams for user in stream.expected for row in user["payments"])
    assert sum(Payment.objects.values_list("amount_cents", flat=True)) == charged
    inserted = AuditEntry.objects.filter(table_name="subscriptions", action="insert", new_values__tier="free")
    assert inserted.count() == len(streams) - 1, "the deleted customer never had a free plan"
