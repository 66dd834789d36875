"""The real `manage.py worker` on the real queue, its processes killed with SIGKILL while they process."""

import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from billing import tasks
from billing.models import Payment, Subscription, WebhookEvent
from billing.stripe.events import inbox
from demo.stripe import recordings
from demo.stripe.server import StripeServer
from glyphforge.audit.models import AuditEntry
from monitoring.models import WorkerHeartbeat
from tests.support import processes
from tests.support.expected import assert_reached
from tests.support.waiting import wait_for

STREAMS = ("cancel_then_resubscribe", "dispute", "refund_partial", "upgrade_prorated", "customer_deleted")
KILLS = 4
# Whoever has been at an event for so long was killed.
DEAD_AFTER = timedelta(seconds=5)


@pytest.fixture
def worker(transactional_db: None, stripe_server: StripeServer, tmp_path: Path) -> Iterator[None]:
    """`manage.py worker` on the test database, with the local Stripe and an impatient watchdog."""
    Schedule.objects.all().delete()
    with (
        (tmp_path / "worker.log").open("wb") as log,
        processes.worker("--stuck-after", "3", output=log, STRIPE_API_HOST=stripe_server.url),
    ):
        yield


def slow(method: str, path: str) -> None:
    """Stripe takes its time, so that a kill hits in the middle of an event."""
    time.sleep(0.05)


def busy() -> list[WorkerHeartbeat]:
    """The workers that are in the middle of an event."""
    now = timezone.now()
    return [
        worker
        for worker in WorkerHeartbeat.objects.filter(role="worker", task__startswith="evt_", task_deadline_at__gt=now)
        if belongs(worker.pid, worker.cluster_pid)
    ]


def belongs(pid: int, cluster: int) -> bool:
    try:
        return os.getpgid(pid) == cluster
    except ProcessLookupError:
        return False


def kill_a_busy_worker(order: random.Random) -> None:
    worker = order.choice(wait_for(busy))
    os.kill(worker.pid, signal.SIGKILL)
    # Its last word would tell the watchdog for minutes that it is busy.
    WorkerHeartbeat.objects.filter(pk=worker.pk).update(task_deadline_at=timezone.now())


def kill_the_cluster() -> None:
    os.killpg(wait_for(busy)[0].cluster_pid, signal.SIGKILL)


def let_time_pass() -> None:
    """Leases of the dead run out, lost tasks are missed, retries fall due; then comes the requeue."""
    now = timezone.now()
    abandoned = WebhookEvent.objects.filter(status="processing", processing_started_at__lt=now - DEAD_AFTER)
    abandoned.update(processing_started_at=now - timedelta(minutes=16))
    WebhookEvent.objects.filter(status="failed").update(next_retry_at=now)
    WebhookEvent.objects.filter(status="pending", next_retry_at=None).update(received_at=now - timedelta(minutes=3))
    WebhookEvent.objects.filter(status="pending", next_retry_at__lt=now + timedelta(seconds=115)).update(
        next_retry_at=now
    )
    tasks.requeue_due()


def drained() -> bool:
    let_time_pass()
    time.sleep(0.5)
    return not WebhookEvent.objects.filter(status__in=("pending", "processing", "failed")).exists()


def queue_is_empty() -> bool:
    return not OrmQ.objects.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_killed_workers_and_a_killed_cluster_lose_and_double_nothing(stripe_server: StripeServer) -> None:
    order = random.Random(4)
    stripe_server.intercept = slow
    streams = [recordings.load(name) for name in STREAMS]
    events = {event["id"]: event for stream in streams for event in stream.events}
    for stream in streams:
        stripe_server.world.add(stream)
    for event in order.sample(list(events.values()), len(events)):
        inbox.store(event)
    for number in range(KILLS):
        kill_a_busy_worker(order)
        if number == KILLS // 2:
            kill_the_cluster()
    wait_for(drained)
    # What the dead had pulled is given out again one day: by then everything is done.
    OrmQ.objects.update(lock=timezone.now())
    wait_for(queue_is_empty)

    assert dict(WebhookEvent.objects.values_list("stripe_event_id", "status")) == dict.fromkeys(events, "processed")
    assert WebhookEvent.objects.filter(attempts__gt=1).exists(), "no kill hit an event in the middle"
    for stream in streams:
        assert_reached(stream.expected)
    charged = [row for stream in streams for user in stream.expected for row in user["payments"]]
    assert sum(Payment.objects.values_list("amount_cents", flat=True)) == sum(row["amount_cents"] for row in charged)
    assert Payment.objects.count() == len(charged)
    assert not Subscription.objects.filter(is_duplicate=True).exists()
    inserted = AuditEntry.objects.filter(table_name="subscriptions", action="insert", new_values__tier="free")
    assert inserted.count() == len(streams) - 1, "the deleted customer never had a free plan"
