"""One cause is one alert."""

from collections.abc import Callable

import pytest
from django.test import Client

from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.models import Alert, CurrentAlert, Notification
from monitoring.notifications import links
from tests.support import factories
from tests.support.faults import nothing_wrong
from tests.support.slack import Slack
from tests.support.sql import ago, query, scalar

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _healthy() -> None:
    nothing_wrong()


def test_events_of_one_cause_are_one_alert_that_leads_to_them(signed_in: Callable[[str], Client]) -> None:
    for number in range(20):
        factories.webhook_event(
            attempts=1 + number % 5,
            last_error=f"No plan claims the price price_1N{number}xyz of cus_{number} at 2026-01-0{number % 9}.",
        )
    other = factories.webhook_event(attempts=1, last_error="The payload has no customer.")
    alert, single = CurrentAlert.objects.order_by("-value")
    assert (alert.severity, alert.value, alert.subject) == ("critical", 20, "20 events fail for one cause")
    assert alert.message.startswith("Most attempts: 5, of invoice.paid evt_")
    assert len(alert.objects_named) == 20
    assert single.subject == f"invoice.paid {other.stripe_event_id}"
    page = signed_in("support").get(links.fix(alert))
    assert page.context["cl"].result_count == 20


def test_what_waits_for_a_person_is_one_alert_a_cause_however_many_events_and_tries() -> None:
    for customer_id in ("cus_a", "cus_b"):
        query("INSERT INTO unmatched_stripe_customers (stripe_customer_id, reason) VALUES (%s, 'Nobody.')", customer_id)
    for key in ("cus_a", "cus_a", "cus_b", "price_a", "price_a", "ada@example.com"):
        factories.webhook_event(waits_for=[key, "x@example.com"], next_retry_at=ago("-1 day"), attempts=9)
    found = CurrentAlert.objects.values_list("alert_type", "object_id", "value", "severity")
    assert set(found) == {
        ("unmatched_stripe_customers", "cus_a", 2, "warning"),
        ("unmatched_stripe_customers", "cus_b", 1, "warning"),
        ("waiting_events", "price_a", 2, "warning"),
        ("waiting_events", "ada@example.com", 1, "warning"),
    }


def test_many_unmatched_customers_are_twenty_alerts_and_one_for_the_others() -> None:
    query(
        "INSERT INTO unmatched_stripe_customers (stripe_customer_id, reason)"
        " SELECT 'cus_' || n, 'Nobody.' FROM generate_series(1, 23) AS n"
    )
    alerts = CurrentAlert.objects.filter(alert_type="unmatched_stripe_customers")
    assert alerts.count() == 21
    assert alerts.get(object_id=None).message == "And 3 more of them."


def test_group_keeps_its_alert_while_it_grows() -> None:
    first = factories.webhook_event(attempts=5, last_error="No plan claims price_1")
    evaluate_alerts()
    assert Alert.objects.get().subject == f"invoice.paid {first.stripe_event_id}"
    factories.webhook_event(attempts=1, last_error="No plan claims price_2")
    evaluate_alerts()
    alert = Alert.objects.get()
    assert (alert.subject, alert.state) == ("2 events fail for one cause", "firing")


def test_message_says_what_is_new_since_the_last_one(slack: Slack) -> None:
    factories.webhook_event(stripe_event_id="evt_1", attempts=5, last_error="No plan claims price_1")
    evaluate_alerts()
    for number in range(2, 5):
        factories.webhook_event(
            stripe_event_id=f"evt_{number}", attempts=1, last_error=f"No plan claims price_{number}"
        )
    query("UPDATE alerts SET notified_at = notified_at - interval '5 hours'")
    evaluate_alerts()
    assert list(Notification.objects.order_by("id").values_list("kind", "message")) == [
        ("opened", "invoice.paid evt_1: Failed (attempts: 5): No plan claims price_1"),
        (
            "reminder",
            (
                "4 events fail for one cause: Most attempts: 5, of invoice.paid evt_1: No plan claims price_1"
                " The last message said: invoice.paid evt_1: Failed (attempts: 5): No plan claims price_1"
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("No such price: 'price_1'", "No such price: 'gold'", True),
        ("row 17 of 20 at 2026-11-28T10:00:00Z", "row 3 of 4 at 2025-01-02T03:04:05Z", True),
        ("user 6fa459ea-ee8a-3ca4-894e-db77e160355e", "user 16fd2706-8baf-433b-82eb-8c7fada847da", True),
        ("object 0xdeadbeef", "object 0xcafebabe01", True),
        ("mail to ada@example.com", "mail to bob@example.org", True),
        ("cus_12: quantity 100000000000000000000 is odd", "cus_Ab: quantity -5 is odd", True),
        ("cannot connect to fe80::1 port 5432", "cannot connect to 2001:db8::ff00:42:8329 port 1", True),
        ("gone since Nov 3 10:00:00", "gone since 2026-12-14T11:22:33.123456Z", True),
        ("https://hooks.example.com/services/T0/AA answered 500", "https://hooks.example.com/x answered 503", True),
        ("value “x” of 'it's'", "value “yy zz” of 'others'", True),
        ("payout po_abc of $29.00", "payout po_1Zz of $1,299.50", True),
        ("call +49 170 1234567", "call +1 (555) 010-9999", True),
        ("https://a.example.com/x is away", "https://b.example.com/x is away", False),
        ("roll_up_usage failed", "sync_subscription_usage failed", False),
        ("No such price: price_1", "No such customer: cus_1", False),
        ("timed out", "not allowed", False),
        ("", "boom", False),
    ],
)
def test_errors_that_differ_in_ids_and_numbers_have_one_cause(one: str, other: str, same: bool) -> None:
    assert scalar("SELECT error_cause(%s) = error_cause(%s)", one, other) is same


def test_jobs_that_nobody_runs_are_one_alert() -> None:
    for job in ("partitions", "daily", "sync"):
        factories.job_schedule(job=job, next_due_at=ago("2 hours"))
    (alert,) = CurrentAlert.objects.filter(alert_type="overdue_jobs")
    assert (alert.severity, alert.value, alert.subject) == ("critical", 3, "3 jobs are past their time")
    assert alert.message.startswith("Overdue: daily, partitions, sync, the first since")


def test_what_follows_from_a_silent_worker_is_muted_and_comes_back_with_it() -> None:
    factories.webhook_event(status="pending", received_at=ago("16 minutes"))
    evaluate_alerts()
    query("UPDATE worker_heartbeats SET seen_at = now() - interval '5 minutes'")
    assert list(CurrentAlert.objects.values_list("fingerprint", flat=True)) == ["worker_silence"]
    for _ in range(3):
        evaluate_alerts()
    assert Alert.objects.get(fingerprint="webhook_delay").muted_by == "worker_silence"
    assert Alert.objects.get(fingerprint="webhook_delay").state == "firing"
    query("UPDATE worker_heartbeats SET seen_at = now()")
    evaluate_alerts()
    assert Alert.objects.get(fingerprint="webhook_delay").muted_by is None
