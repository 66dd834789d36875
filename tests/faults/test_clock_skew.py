"""A machine whose clock is an hour wrong loses, doubles and delays nothing, and the check names it.

What is compared with rows is read from the database's clock. That cron and workers of different clocks share a slot is
in tests/monitoring/jobs/test_runner.py; leases, heartbeats, windows of limits and retries are written by SQL alone.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.models import OrmQ, Schedule

from billing.stripe.requests import settling
from demo.stripe import recordings
from demo.stripe.deliver import signature
from demo.stripe.world import StripeWorld
from glyphforge.database.clock import database_time
from monitoring.alerts import measuring
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.jobs import lease, watcher
from monitoring.models import Alert
from monitoring.notifications.outbox import deliver_notifications
from monitoring.worker.scheduler import enqueue_due
from tests.support import factories, slack
from tests.support.event_stream import EventStream
from tests.support.sql import one, query, scalar

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
Elsewhere = Callable[[], AbstractContextManager[None]]

# What may read its machine's own clock, and why that does no harm.
OF_ITS_OWN = {
    # What is shown to a person, or named after the moment.
    **dict.fromkeys(
        ("glyphforge/admin/columns.py", "glyphforge/admin/export.py", "billing/admin/customer_invoices.py",
         "billing/admin/customer_page.py", "billing/admin/extra_quota.py", "billing/admin/key_operations.py",
         "billing/services/privacy/export.py", "monitoring/admin/alert.py", "monitoring/admin/customer_panels.py",
         "monitoring/admin/retention.py", "monitoring/admin/silence.py", "monitoring/dashboard/figures.py",
         "monitoring/notifications/trial.py"),
        "shown",
    ),
    # Compared with what the same machine wrote.
    "glyphforge/database/retention.py": "with the times of its files",
    "glyphforge/staff/adapters.py": "within a session",
    "glyphforge/staff/middleware.py": "within a session",
    "glyphforge/staff/sso.py": "within a session",
    # Days from now, or a moment that somebody chose.
    **dict.fromkeys(("billing/keys/lifecycle.py", "billing/models/api_key.py"), "the end of a key"),
    **dict.fromkeys(
        ("billing/admin/quota_operations.py", "billing/admin/subscription_operations.py"), "offers or checks a form"
    ),
    "billing/stripe/signature.py": "asks the database's before it refuses",
    # Compare the clocks.
    **dict.fromkeys(("glyphforge/database/clock.py", "monitoring/doctor/database.py"), "compares"),
}  # fmt: skip


@pytest.fixture(params=[-3600, 3600], ids=["behind", "ahead"])
def elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """A block that runs on a machine whose clock is an hour wrong; outside of it, it is right."""
    now, moment = time.time, timezone.now

    @contextmanager
    def away() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: now() + request.param)
            patch.setattr(timezone, "now", lambda: moment() + timedelta(seconds=request.param))
            yield

    return away


def test_event_is_taken_in_and_pulled_by_machines_that_differ(elsewhere: Elsewhere, client: Client) -> None:
    event = recordings.load("signup_paid").events[-1]
    body = json.dumps(event)
    headers = {"Stripe-Signature": signature(body, "whsec_current", int(time.time()))}
    with elsewhere():
        assert (
            client.post("/webhooks/stripe/", body, content_type="application/json", headers=headers).status_code == 200
        )
    broker = get_broker()
    ((task, _),) = broker.dequeue()
    with elsewhere():
        assert broker.dequeue() == []  # it is given out once
    broker.acknowledge(task)


def test_request_that_is_on_its_way_is_not_taken_for_lost(elsewhere: Elsewhere, world: StripeWorld) -> None:
    row = EventStream(world).signed_up().row
    sent = factories.stripe_request(row.user, row_id=row.pk, stripe_object_id=row.stripe_subscription_id)
    with elsewhere():
        assert settling.sweep() == 0
        assert settling.look(sent).is_open


def test_alert_that_is_raised_on_one_machine_is_told_by_the_other_once_and_at_once(elsewhere: Elsewhere) -> None:
    factories.worker()
    event = factories.webhook_event(status="dead")
    with slack.serving() as channel:
        with elsewhere():
            evaluate_alerts()
        deliver_notifications()
        evaluate_alerts()
        with elsewhere():
            deliver_notifications()
    assert sum(event.stripe_event_id in post["text"] for post in channel.posts) == 1
    assert abs(Alert.objects.get(alert_type="failed_webhooks").fired_at - database_time()) < timedelta(minutes=5)


def test_job_is_not_taken_for_dead(elsewhere: Elsewhere) -> None:
    with elsewhere():
        claimed = lease.claim("rollup", slot=None, trigger="manual")
    assert isinstance(claimed, lease.Lease)
    assert lease.fail_dead_runs() == 0
    with elsewhere():
        assert lease.fail_dead_runs() == 0
        assert lease.claim("rollup", slot=None, trigger="manual") == "busy"


def test_job_is_handed_out_at_its_slot_and_once(elsewhere: Elsewhere) -> None:
    Schedule.objects.exclude(name="daily").delete()
    for minutes, handed_out in ((10, 0), (-10, 1), (10, 1)):
        slot = database_time() + timedelta(minutes=minutes)
        Schedule.objects.update(next_run=slot)
        with elsewhere():
            enqueue_due()
            enqueue_due()
        assert OrmQ.objects.count() == handed_out
        assert Schedule.objects.get().next_run > database_time()


def test_usage_is_recorded_at_its_moment(elsewhere: Elsewhere, client: Client, settings: LazySettings) -> None:
    settings.API_SERVICE_TOKENS = {"server": "t" * 40}
    row = {
        "api_key_id": str(factories.api_key().pk), "endpoint": "/", "method": "GET", "status_code": 200,
        "response_time_ms": 1,
    }  # fmt: skip
    body = json.dumps({"requests": [row, row | {"created_at": timezone.now().isoformat()}]})
    with elsewhere():
        answer = client.post(
            "/api/v1/usage", body, content_type="application/json", headers={"Authorization": f"Bearer {'t' * 40}"}
        )
    assert (answer.status_code, answer.json()["recorded"]) == (200, 2)
    assert scalar("SELECT count(*) FROM api_usage WHERE abs(extract(EPOCH FROM created_at - now())) < 300") == 2


def test_machine_whose_clock_is_wrong_is_named_at_once_and_no_more_once_it_is_right(elsewhere: Elsewhere) -> None:
    query("UPDATE alert_evaluations SET evaluated_at = clock_timestamp(), evaluated_by = 'worker1'")
    with elsewhere():
        assert not watcher.look()  # a web process where others evaluate
        evaluate_alerts()
    alert = Alert.objects.get(alert_type="clock_skew")
    assert (alert.severity, alert.state) == ("critical", "firing")
    assert re.match(r"The clock of \S+ is 3600 s (behind|ahead of) the database's\.", alert.message)
    measuring.compare_clocks()
    assert one("SELECT status FROM v_system_health WHERE check_name = 'clock_skew'")["status"] == "ok"


def test_what_is_compared_with_rows_is_read_from_the_databases_clock() -> None:
    own = re.compile(r"\btimezone\.now\(|\bdatetime\.now\(|\bdate\.today\(|(?<![\w.])time\.time\(")
    files = [path for app in ("billing", "glyphforge", "monitoring") for path in (ROOT / app).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if own.search(path.read_text())}
    assert found == set(OF_ITS_OWN)
