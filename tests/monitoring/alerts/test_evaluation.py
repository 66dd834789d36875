"""Observations in, episodes and notifications out."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import override_settings
from django.utils import timezone

from billing.models import WebhookEvent
from monitoring.alerts import observation, triage
from monitoring.alerts.evaluation import evaluate, evaluate_alerts
from monitoring.alerts.observation import Observation, observe
from monitoring.models import Alert, Notification
from tests.support import factories

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("channels"),
]
See = Callable[..., dict[str, Observation]]
# Ahead of the clock: an hour after it may be snoozed until, however long the suite takes to come here.
NOW = timezone.now().replace(microsecond=0) + timedelta(days=1)


@pytest.fixture
def channels() -> Any:
    with override_settings(SLACK_WEBHOOK_URL="http://127.0.0.1:9/x", ALERT_EMAIL="oncall@example.com"):
        yield


def at(minutes: float, seen: dict[str, Observation]) -> dict[str, Any]:
    with transaction.atomic():
        return dict(evaluate(seen, NOW + timedelta(minutes=minutes)).detail)


def messages() -> list[tuple[str, str, str]]:
    return list(Notification.objects.order_by("id").values_list("kind", "severity", "channel"))


def the_alert() -> Alert:
    return Alert.objects.get()


class TestOpening:
    def test_warning_opens_at_the_second_failing_evaluation(self, see: See) -> None:
        at(0, see(a="warning"))
        assert (the_alert().state, messages()) == ("pending", [])
        at(1, see(a="warning"))
        assert (the_alert().state, the_alert().fired_at) == ("firing", NOW + timedelta(minutes=1))
        assert messages() == [("opened", "warning", "slack")]
        at(2, see(a="warning"))
        assert len(messages()) == 1

    def test_critical_opens_at_once_and_goes_everywhere(self, see: See) -> None:
        at(0, see(a="critical"))
        assert messages() == [("opened", "critical", "slack"), ("opened", "critical", "email")]

    def test_info_stays_in_the_inbox(self, see: See) -> None:
        at(0, see(a="info"))
        at(1, see(a="info"))
        assert (the_alert().state, messages()) == ("firing", [])

    def test_warning_that_passes_was_nothing(self, see: See) -> None:
        at(0, see(a="warning"))
        at(1, {})
        assert not Alert.objects.exists()
        at(2, see(a="warning"))
        assert the_alert().state == "pending"

    def test_pending_that_worsens_opens(self, see: See) -> None:
        at(0, see(a="warning"))
        at(1, see(a="critical"))
        assert messages() == [("opened", "critical", "slack"), ("opened", "critical", "email")]

    def test_each_object_is_an_alert_of_its_own(self, see: See) -> None:
        detail = at(0, see(a="critical", b="critical", c="warning"))
        assert detail == {"seen": 3, "unchanged": 0, "notifications": 4, "begun": 3, "opened": 2}

    def test_one_episode_is_open_per_fingerprint(self) -> None:
        values = {"fingerprint": "f"}
        factories.alert(state="resolved", resolved_at=NOW, **values)
        factories.alert(**values)
        with pytest.raises(IntegrityError, match="alerts_one_open_per_fingerprint"), transaction.atomic():
            factories.alert(**values)

    @override_settings(SLACK_WEBHOOK_URL="", ALERT_EMAIL="")
    def test_alerts_live_without_any_channel(self, see: See) -> None:
        at(0, see(a="critical"))
        at(300, see(a="critical"))
        at(301, {})
        at(302, {})
        assert (the_alert().state, messages()) == ("resolved", [])

    @override_settings(SLACK_WEBHOOK_URL="")
    def test_warning_goes_by_mail_where_there_is_no_slack(self, see: See) -> None:
        at(0, see(a="warning"))
        at(1, see(a="warning"))
        assert messages() == [("opened", "warning", "email")]


class TestClosing:
    def test_alert_resolves_after_two_good_evaluations(self, see: See) -> None:
        at(0, see(a="critical"))
        at(1, {})
        assert the_alert().state == "firing"
        at(2, see(a="critical"))
        at(3, {})
        at(4, {})
        assert (the_alert().state, the_alert().resolved_at) == ("resolved", NOW + timedelta(minutes=4))
        assert messages()[2:] == [("resolved", "critical", "slack"), ("resolved", "critical", "email")]

    def test_what_comes_back_is_a_new_episode(self, see: See) -> None:
        for minute in range(3):
            at(minute, see(a="critical") if minute == 0 else {})
        at(3, see(a="critical"))
        assert sorted(Alert.objects.values_list("state", flat=True)) == ["firing", "resolved"]

    def test_critical_that_becomes_a_warning_stays_one_alert(self, see: See) -> None:
        at(0, see(a="critical"))
        at(1, see(a="warning"))
        assert the_alert().severity == "critical"
        at(2, see(a="warning"))
        assert (the_alert().severity, the_alert().state, len(messages())) == ("warning", "firing", 2)

    def test_severity_that_flaps_says_nothing(self, see: See) -> None:
        at(0, see(a="critical"))
        for minute in range(1, 9):
            at(minute, see(a="warning" if minute % 2 else "critical"))
        assert len(messages()) == 2


class TestRepeating:
    def test_firing_alert_reminds_every_four_hours(self, see: See) -> None:
        at(0, see(a="critical"))
        for minute in (1, 60, 239):
            at(minute, see(a="critical"))
        assert len(messages()) == 2
        at(240, see(a="critical"))
        at(241, see(a="critical"))
        assert messages()[2:] == [("reminder", "critical", "slack"), ("reminder", "critical", "email")]

    def test_warning_reminds_too_and_information_never(self, see: See) -> None:
        for minute in (0, 1, 241, 242, 480):
            at(minute, see(a="warning", b="info"))
        assert messages() == [("opened", "warning", "slack"), ("reminder", "warning", "slack")]
        at(481, see(a="warning", b="info"))
        assert messages()[2:] == [("reminder", "warning", "slack")]

    def test_acknowledged_alert_is_quiet(self, see: See) -> None:
        at(0, see(a="critical"))
        triage.acknowledge([the_alert().pk], actor="grace", note="On it")
        at(600, see(a="critical"))
        assert (the_alert().state, len(messages())) == ("acknowledged", 2)

    @pytest.mark.parametrize("handled", ["acknowledge", "snooze"])
    def test_getting_worse_breaks_the_silence(self, see: See, handled: str) -> None:
        at(0, see(a="warning"))
        at(1, see(a="warning"))
        if handled == "acknowledge":
            triage.acknowledge([the_alert().pk], actor="grace", note="On it")
        else:
            triage.snooze([the_alert().pk], until=NOW + timedelta(days=1), actor="grace", note="Later")
        at(2, see(a="critical"))
        alert = the_alert()
        assert (alert.state, alert.acknowledged_by, alert.snoozed_until, alert.note) == ("firing", None, None, "")
        assert messages()[1:] == [("escalated", "critical", "slack"), ("escalated", "critical", "email")]

    def test_snooze_ends_by_itself(self, see: See) -> None:
        at(0, see(a="critical"))
        triage.snooze([the_alert().pk], until=NOW + timedelta(hours=1), actor="grace", note="Deploying")
        at(59, see(a="critical"))
        assert the_alert().state == "snoozed"
        at(62, see(a="critical"))
        assert (the_alert().state, messages()[2:]) == (
            "firing",
            [("reminder", "critical", "slack"), ("reminder", "critical", "email")],
        )

    def test_snoozed_alert_resolves_like_any_other(self, see: See) -> None:
        at(0, see(a="critical"))
        triage.snooze([the_alert().pk], until=NOW + timedelta(hours=1), actor="grace", note="Deploying")
        at(1, {})
        at(2, {})
        assert the_alert().state == "resolved"


class TestObserving:
    def test_view_feeds_the_machine_until_the_fault_is_repaired(self) -> None:
        factories.worker()
        event = factories.webhook_event(stripe_event_id="evt_1", status="dead", attempts=8)
        evaluate_alerts()
        alert = Alert.objects.get(alert_type="failed_webhooks")
        assert (alert.state, alert.severity, alert.object_id) == ("firing", "critical", "evt_1")
        WebhookEvent.objects.filter(pk=event.pk).update(status="processed", processed_at=timezone.now())
        evaluate_alerts()
        evaluate_alerts()
        alert.refresh_from_db()
        assert alert.state == "resolved"

    def test_critical_hides_the_warning_of_the_same_check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = [Observation("connections", severity, "t", "s", "", "") for severity in ("warning", "critical", "info")]
        monkeypatch.setattr(observation, "_rows", lambda: rows)
        assert {seen.severity for seen in observe().alerts.values()} == {"critical"}
        evaluate_alerts()
        assert Alert.objects.get().severity == "critical"
