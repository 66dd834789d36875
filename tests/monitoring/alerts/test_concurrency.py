"""Two evaluators at once, two senders at once, and one that dies."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing.models import WebhookEvent
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.models import Alert, Notification
from monitoring.notifications import outbox
from monitoring.notifications import slack as slack_channel
from tests.support import factories
from tests.support.concurrently import at_once
from tests.support.slack import Slack

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_is_lost_or_doubled(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.worker()
    factories.webhook_event(stripe_event_id="evt_1", status="dead", attempts=8)

    # Two evaluators: one episode, one message.
    at_once(*[evaluate_alerts] * 4)
    alert = Alert.objects.get(alert_type="failed_webhooks")
    assert list(alert.notifications.values_list("kind", "channel")) == [("opened", "slack")]

    # While one evaluates the others return at once.
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('evaluate_alerts', 0))")
        (skipped,) = at_once(evaluate_alerts)
        assert skipped.detail == {"skipped": "another evaluation is running"}

    # A sender that dies between claim and delivery: the message is due again once its lease has run out.
    def killed(payload: object) -> None:
        raise SystemExit

    Notification.objects.exclude(alert=alert).delete()
    with monkeypatch.context() as patch:
        patch.setattr(slack_channel, "post", killed)
        with pytest.raises(SystemExit):
            outbox.deliver_notifications()
    outbox.deliver_notifications()
    assert slack.posts == []
    Notification.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    # Several senders at once: one message.
    at_once(*[outbox.deliver_notifications] * 4)
    assert len(slack.posts) == 1
    assert list(alert.notifications.values_list("status", "attempts")) == [("sent", 2)]

    # A crash of the evaluator takes the message along with the change of state.
    WebhookEvent.objects.update(status="processed")
    evaluate_alerts()
    with transaction.atomic():
        evaluate_alerts()
        transaction.set_rollback(True)
    alert.refresh_from_db()
    assert (alert.state, alert.notifications.count()) == ("firing", 1)
    evaluate_alerts()
    alert.refresh_from_db()
    assert (alert.state, alert.notifications.count()) == ("resolved", 2)
