"""A maintenance window sends no message, hides nothing and ends by itself."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from monitoring.alerts import silences
from monitoring.alerts.evaluation import evaluate_alerts
from monitoring.models import Alert, CurrentAlert, Notification, Silence
from tests.support import factories
from tests.support.faults import nothing_wrong
from tests.support.slack import Slack
from tests.support.sql import query

pytestmark = pytest.mark.django_db
PAGE = "/admin/monitoring/silence/"


@pytest.fixture(autouse=True)
def _failing_event(slack: Slack) -> None:
    nothing_wrong()
    factories.webhook_event(attempts=5)


def window(pattern: str = "failed_*", hours: float = 1) -> Silence:
    now = timezone.now() - timedelta(seconds=1)
    return silences.begin(pattern, starts=now, ends=now + timedelta(hours=hours), actor="grace", reason="Upgrade")


def kinds() -> list[str]:
    return list(Notification.objects.order_by("id").values_list("kind", flat=True))


def test_silenced_alert_is_shown_counted_and_told_after_the_window(signed_in: Callable[[str], Client]) -> None:
    silence = window()
    evaluate_alerts()
    alert = Alert.objects.get()
    assert (alert.state, alert.silenced_until, kinds()) == ("firing", silence.ends_at, [])
    assert CurrentAlert.objects.get().silenced_until == silence.ends_at
    assert "Silenced until" in signed_in("support").get("/admin/monitoring/alert/").text
    query("UPDATE silences SET starts_at = now() - interval '2 hours', ends_at = now() - interval '1 hour'")
    evaluate_alerts()
    assert kinds() == ["opened"]


def test_other_checks_are_told() -> None:
    window("backup_*")
    evaluate_alerts()
    assert kinds() == ["opened"]


def test_alert_older_than_its_channel_is_told_when_one_is_added(slack: Slack) -> None:
    with override_settings(SLACK_WEBHOOK_URL=""):
        evaluate_alerts()
    assert kinds() == []
    evaluate_alerts()
    assert kinds() == ["opened"]
    evaluate_alerts()
    assert kinds() == ["opened"]


@pytest.mark.parametrize("pattern", ["no_such_check", "", "a'; DROP", "**x"])
def test_pattern_that_names_no_check_is_refused(pattern: str) -> None:
    with pytest.raises(Refused, match="names no check"):
        window(pattern)


@pytest.mark.parametrize("hours", [0, -1, 24 * 8])
def test_window_ends_within_a_week(hours: float) -> None:
    with pytest.raises(Refused, match="it must end after now"):
        window(hours=hours)


def test_operator_opens_and_ends_a_window_with_a_reason(signed_in: Callable[[str], Client]) -> None:
    operator = signed_in("operator")
    values = {"checks": "*", "hours": "2", "reason": "Upgrade of the database", "confirmed": "1"}
    answer = operator.post(f"{PAGE}do/silence/", values, follow=True)
    assert "silenced until" in answer.text
    silence = Silence.objects.get()
    assert "Upgrade of the database" in operator.get(PAGE).text
    entry = AuditEntry.objects.get(table_name="silences", action="insert")
    assert (entry.reason, entry.actor) == ("Upgrade of the database", silence.created_by)
    operator.post(f"{PAGE}{silence.pk}/do/end/", {"reason": "Done early", "confirmed": "1"})
    silence.refresh_from_db()
    assert silence.ends_at <= timezone.now()
    assert signed_in("support").post(f"{PAGE}do/silence/", values).status_code == 403
