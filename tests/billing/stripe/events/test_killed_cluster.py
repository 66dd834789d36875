"""The real `manage.py worker` on the real queue, its processes killed with SIGKILL while they process."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from billing import tasks
from billing.demo import recordings
from billing.demo.stripe_server import StripeServer
from billing.models import AuditEntry, Payment, Subscription, WebhookEvent
from billing.stripe import inbox
from monitoring.models import WorkerHeartbeat
from tests.billing.stripe.expected import assert_reached
from tests.needs import require
from tests.waiting import PATIENCE_SECONDS, wait_for

ROOT = Path(__file__).resolve().parents[3]
STORIES = ("cancel_then_resubscribe", "dispute", "refund_partial", "upgrade_prorated", "customer_deleted")
KILLS = 4
#: Whoever has been at an event for so long was killed.
DEAD_AFTER = timedelta(seconds=5)


@pytest.fixture
def worker(transactional_db: None, stripe_server: StripeServer, tmp_path: Path) -> Iterator[None]:
    """`manage.py worker` on the test database, with the local Stripe and an impatient watchdog."""
    require(settings.TEST_SERVER, "the suite's own server")
    Schedule.objects.all().delete()
    environment = os.environ | {
        "DATABASE_URL": settings.TEST_SERVER.url(connection.settings_dict["NAME"]),
        "DJANGO_SETTINGS_MODULE": "glyphforge.settings",
        "STRIPE_API_HOST": stripe_server.url,
        "LOG_LEVEL": "WARNING",
    }
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", "--stuck-after", "3"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            for cluster in set(WorkerHeartbeat.objects.values_list("cluster_pid", flat=True)):
                with suppress(ProcessLookupError):
                    os.killpg(cluster, signal.SIGKILL)
            process.kill()
            process.wait()


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
    """Leases of the dead run out, lost tasks are missed, retries fall due; then comes the sweep."""
    now = timezone.now()
    abandoned = WebhookEvent.objects.filter(status="processing", processing_started_at__lt=now - DEAD_AFTER)
    abandoned.update(processing_started_at=now - timedelta(minutes=16))
    WebhookEvent.objects.filter(status="failed").update(next_retry_at=now)
    WebhookEvent.objects.filter(status="pending", next_retry_at=None).update(received_at=now - timedelta(minutes=3))
    WebhookEvent.objects.filter(status="pending", next_retry_at__lt=now + timedelta(seconds=115)).update(
        next_retry_at=now
    )
    tasks.sweep()


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
    stories = [recordings.load(name) for name in STORIES]
    events = {event["id"]: event for story in stories for event in story.events}
    for story in stories:
        stripe_server.world.add(story)
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
    for story in stories:
        assert_reached(story.expected)
    charged = [row for story in stories for user in story.expected for row in user["payments"]]
    assert sum(Payment.objects.values_list("amount_cents", flat=True)) == sum(row["amount_cents"] for row in charged)
    assert Payment.objects.count() == len(charged)
    assert not Subscription.objects.filter(is_duplicate=True).exists()
    inserted = AuditEntry.objects.filter(table_name="subscriptions", action="insert", new_values__tier="free")
    assert inserted.count() == len(stories) - 1, "the deleted customer never had a free tier"
