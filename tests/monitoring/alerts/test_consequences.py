"""What is told of a rehearsed act: MRR, alerts and messages, as they come in earnest."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings

from billing.models import PlanPrice, Subscription, WebhookEvent
from billing.services import prices
from billing.stripe.events import replay
from demo.stripe.world import StripeWorld
from glyphforge.database.rehearsal import rehearse
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.models import Alert, HealthCheck, Notification
from tests.support import event_stream, factories
from tests.support.all_rows import digest
from tests.support.sql import ago, run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _channels(settings: LazySettings) -> None:
    settings.SLACK_WEBHOOK_URL = "https://hooks.slack.invalid/x"
    settings.ALERT_EMAIL = "ops@example.com"


def settled() -> None:
    for _ in range(2):
        evaluate_alerts()


def told_in_earnest(act: Callable[[], Any]) -> tuple[list[str], list[str]]:
    """The alerts that fire or are resolved once it was done, and the messages."""
    last = Notification.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    act()
    settled()
    told = Notification.objects.filter(pk__gt=last).order_by("pk")
    alerts = [f"{alert.severity}: {alert.subject}: {alert.message}" for alert in Alert.objects.filter(state="firing")]
    return sorted(alerts), [f"{row.get_channel_display()}: {row.get_kind_display()}: {row.message}" for row in told]


def test_mrr_alerts_and_messages_are_those_that_come_in_earnest_and_nothing_is_sent() -> None:
    user = factories.customer(email="ada@example.com")
    row = factories.subscription(user)
    settled()
    known = {f"{alert.severity}: {alert.subject}: {alert.message}" for alert in Alert.objects.filter(state="firing")}
    before = digest()

    def act() -> None:
        run(
            "UPDATE subscriptions SET price_cents = 9900, current_period_end = now() - '9d'::interval WHERE id = %s",
            row.pk,
        )

    rehearsed = rehearse(act)
    assert digest() == before
    assert rehearsed.told["MRR"] == ["29.00 USD → 99.00 USD"]
    alerts, messages = told_in_earnest(act)
    assert rehearsed.told["Alerts"] == sorted(set(alerts) - known)
    assert rehearsed.told["Messages"] == messages
    assert any("ada@example.com" in message for message in messages)


def test_what_would_come_anyway_is_not_put_down_to_the_act() -> None:
    factories.subscription(current_period_end=ago("9 days"))
    told = rehearse(lambda: None).told
    assert told == {"MRR": [], "Alerts": [], "Messages": []}


def test_alert_that_a_threshold_resolves_is_told() -> None:
    run("UPDATE health_checks SET is_enabled = (check_name = 'error_rate')")
    user = factories.customer(email="ada@example.com")
    factories.requests(user, 60, status_code=500)
    settled()
    told = rehearse(lambda: HealthCheck.objects.filter(pk="error_rate").update(is_enabled=False)).told
    assert [line.partition(": ada@example.com")[0] for line in told["Alerts"]] == ["resolved"]
    assert all("Resolved: ada@example.com" in line for line in told["Messages"])
    assert told["Messages"]


def test_of_a_mapping_the_events_and_customers_that_follow_are_rehearsed_too(world: StripeWorld) -> None:
    stream = event_stream.EventStream(world)
    price = world.objects[stream.item["price"]["id"]]
    price.update(lookup_key=None, metadata={})
    stream.item["price"].update(lookup_key=None, metadata={})
    event_stream.feed(stream.recording.events)
    assert not Subscription.objects.filter(stripe_subscription_id=stream.subscription["id"]).exists()
    before = digest()
    rehearsed = rehearse(lambda: prices.map_price(price["id"], "starter", actor="ada", reason="new price"))
    assert digest() == before
    assert not PlanPrice.objects.exists()
    made = {
        change.after["stripe_subscription_id"]
        for change in rehearsed.changes
        if change.table == "subscriptions" and change.after
    }
    assert stream.subscription["id"] in made
    assert rehearsed.told["MRR"] == ["0.00 USD → 29.00 USD"]
    assert "Not rehearsed" not in rehearsed.told


def test_what_the_worker_would_do_later_is_named(world: StripeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = event_stream.EventStream(world).signed_up()
    monkeypatch.setattr("billing.tasks.REHEARSED_TASKS", 0)

    told = rehearse(lambda: replay.replay(WebhookEvent.objects.all(), actor="ada", reason="again")).told
    count = WebhookEvent.objects.count()
    assert stream.user
    assert told["Not rehearsed"] == [f"{count} tasks that the worker would do later"]
